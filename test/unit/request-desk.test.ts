/**
 * What a standby passes on to the primary (R37): so much at a time, in the order in which it came,
 * none of it twice, and all of it in the end. The primary is the test.
 */
import t from 'tap';
import { type BlockRequest, blockError } from '../../daemon/nbd/block-device.ts';
import { PassOnWindow } from '../../daemon/volume/passed-on.ts';
import { RequestDesk } from '../../daemon/volume/request-desk.ts';
import type { Volume } from '../../daemon/volume/volume.ts';
import type { ForwardReply, ForwardRequest } from '../../replication/link/forward-format.ts';
import { checksumPieces } from '../../wal/checksum.ts';
import { type Frame, type LogRecord, recordKind } from '../../wal/frame.ts';
import { encodeFrame } from '../../wal/frame-format.ts';
import type { VolumeStore } from '../../wal/volume-store.ts';
import { idleVolume } from '../support/idle-volume.ts';

const boot = 5n;
const writeBytes = 4096;
const windowBytes = 10 * writeBytes;
/** What a request counts for besides its data. */
const overheadBytes = 512;

interface Passed {
  readonly session: number;
  readonly request: ForwardRequest;
}

/** A standby's desk, and what it has passed on. */
class Standby {
  readonly desk: RequestDesk;
  readonly passed: Passed[] = [];
  /** Content of the writes, by the number of the request, as their clients were told. */
  readonly answers = new Map<number, number>();
  session: number | undefined = 1;
  memoryBytes = 0;
  nowMs = 0;
  readonly #volume: Volume;
  #count = 0;

  constructor(passedOn = { writes: new PassOnWindow(windowBytes), reads: new PassOnWindow() }) {
    this.#volume = makeVolume();
    this.desk = new RequestDesk({
      boot,
      memory: {
        take: (bytes) => {
          this.memoryBytes += bytes;
        },
        give: (bytes) => {
          this.memoryBytes -= bytes;
        },
      },
      passedOn,
      holdMsMax: 0,
      nowMs: () => this.nowMs,
      takesWrites: () => false,
      mayRead: () => false,
      confirmReads: () => undefined,
      standbySession: () => this.session,
      forward: (session, request) => this.passed.push({ session, request }),
      wakeLog: () => undefined,
      readFailed: () => undefined,
    });
  }

  /** Of a write every block holds the number that this gives. */
  submit(command: 'read' | 'write', lengthBytes = writeBytes, connected = true): number {
    this.#count += 1;
    const number = this.#count;
    const request: BlockRequest = {
      command,
      offsetBytes: 0,
      lengthBytes,
      payload: command === 'write' ? [Buffer.alloc(lengthBytes, number)] : [],
      noHole: false,
      target: Buffer.alloc(command === 'read' ? lengthBytes : 0),
      extents: [],
      connected,
      receivedAtMs: 0,
      complete: (error) => {
        if (this.answers.has(number)) throw new Error(`request ${number} is answered twice`);
        this.answers.set(number, error);
      },
    };
    this.desk.submit(this.#volume, request);
    return number;
  }

  submitMany(command: 'read' | 'write', count: number): number[] {
    return Array.from({ length: count }, () => this.submit(command));
  }

  /** Takes what has been passed on since the last time. */
  takePassed(): ForwardRequest[] {
    return this.passed.splice(0).map(({ request }) => request);
  }

  answer({ id, command, lengthBytes }: ForwardRequest, fields: Partial<ForwardReply> = {}): void {
    const data = command === 'read' ? [Buffer.alloc(lengthBytes)] : [];
    const reply = { id, error: blockError.none, refused: false, data, extents: [], ...fields };
    this.desk.reply(this.session ?? 0, reply);
  }

  loseSession(): void {
    const lost = this.session;
    this.session = undefined;
    if (lost !== undefined) this.desk.sessionClosed(lost);
  }

  joined(session: number): void {
    this.session = session;
    this.desk.advance();
  }
}

function makeVolume(): Volume {
  // Nothing is read or written here: the primary does it all.
  const store = {} as unknown as VolumeStore;
  return idleVolume({ volume: 1, name: 'blocks', sizeBytes: 1024 * 1024 }, store, false);
}

/** A frame of the primary that holds what was passed on to it. */
function frameOf(requests: readonly ForwardRequest[]): Frame {
  return encodeFrame({
    groupId: '1'.repeat(32),
    epoch: 1,
    epochId: '2'.repeat(32),
    firstSequence: 1,
    commit: 0,
    timeMs: 0,
    digestBefore: '0'.repeat(32),
    records: requests.map(
      ({ volume, offsetBytes, lengthBytes, originBoot, originNumber, payload }): LogRecord => ({
        kind: recordKind.write,
        volume,
        offsetBytes,
        lengthBytes,
        origin: { boot: originBoot, number: originNumber },
        flags: 0,
        payload,
        checksums: checksumPieces(payload, offsetBytes, lengthBytes),
      }),
    ),
  });
}

/** Which writes these are. */
function contents(requests: readonly ForwardRequest[]): number[] {
  return requests.map(({ payload }) => payload[0]?.[0] ?? 0);
}

function costOf(requests: readonly ForwardRequest[]): number {
  return requests.reduce((sum, { lengthBytes }) => sum + lengthBytes + overheadBytes, 0);
}

t.test('so much is passed on without an answer; the rest follows, in order', (t) => {
  const standby = new Standby();
  const sent = standby.submitMany('write', 200);
  const onTheWay = standby.takePassed();
  const seen = [...onTheWay];
  t.ok(onTheWay.length >= 9 && onTheWay.length <= 10, `${onTheWay.length} were passed on at once`);
  for (;;) {
    const request = onTheWay.shift();
    if (request === undefined) break;
    standby.answer(request);
    const followed = standby.takePassed();
    seen.push(...followed);
    onTheWay.push(...followed);
    if (costOf(onTheWay) >= windowBytes + writeBytes + overheadBytes) t.fail('too much is sent');
  }
  t.same(contents(seen), sent, 'each once, in the order they came in');
  t.same([...standby.answers.keys()], sent);
  t.ok([...standby.answers.values()].every((error) => error === blockError.none));
  t.equal(standby.memoryBytes, 0);
  t.equal(standby.desk.heldRequests, 0);
  t.end();
});

t.test('one request goes, however large it is', (t) => {
  const standby = new Standby({
    writes: new PassOnWindow(writeBytes),
    reads: new PassOnWindow(writeBytes),
  });
  for (const command of ['write', 'read'] as const) {
    standby.submit(command, 64 * 1024);
    standby.submit(command, 64 * 1024);
    const [first, ...more] = standby.takePassed();
    t.equal(first?.lengthBytes, 64 * 1024);
    t.same(more, []);
    if (first !== undefined) standby.answer(first);
    const [second] = standby.takePassed();
    if (second !== undefined) standby.answer(second);
  }
  t.equal(standby.answers.size, 4);
  t.end();
});

t.test('reads do not wait for the writes before them', (t) => {
  const reads = new PassOnWindow(windowBytes);
  const standby = new Standby({ writes: new PassOnWindow(windowBytes), reads });
  standby.submitMany('write', 100);
  standby.takePassed();
  const sent = standby.submitMany('read', 100);
  const onTheWay = standby.takePassed();
  t.ok(onTheWay.length >= 9 && onTheWay.length <= 10, `${onTheWay.length} were passed on at once`);
  for (const request of onTheWay) {
    t.equal(request.command, 'read');
    standby.answer(request);
    onTheWay.push(...standby.takePassed());
  }
  t.same([...standby.answers.keys()], sent);
  t.equal(reads.bytes, 0);
  t.end();
});

t.test('after a lost session all is sent again that was not done, in order, nothing twice', (t) => {
  const standby = new Standby();
  const sent = standby.submitMany('write', 40);
  const first = standby.takePassed();
  const [answered, inFrame, ...lost] = first;
  if (answered === undefined || inFrame === undefined) throw new Error('two were passed on');
  standby.answer(answered);
  const followed = standby.takePassed();
  t.equal(followed.length, 1);
  standby.loseSession();
  const late = standby.submit('write');
  t.same(standby.takePassed(), []);

  // The log has to reach what the primary had: until then what it may have is not sent again.
  standby.joined(2);
  const early = standby.takePassed();
  const unsure = contents([...lost, ...followed, inFrame]);
  t.ok(contents(early).every((content) => !unsure.includes(content)));
  t.equal(contents(early)[0], first.length + 2, 'what was never sent may go');

  // It has: one of them is in a frame, the others the primary never did.
  const parts = standby.desk.find(frameOf([inFrame]));
  t.equal(parts.length, 1);
  standby.desk.resolve();
  standby.desk.advance();
  const onTheWay = [...early];
  const again: number[] = [];
  for (const request of onTheWay) {
    again.push(...contents([request]));
    standby.answer(request);
    onTheWay.push(...standby.takePassed());
  }
  for (const part of parts) standby.desk.settle(part, blockError.none);
  const done = contents([answered, inFrame]);
  const undone = [...sent, late].filter((content) => !done.includes(content));
  const afterwards = undone.filter((content) => !contents(early).includes(content));
  t.same(again, [...contents(early), ...afterwards], 'each once, in the order they came in');
  t.equal(standby.answers.size, 41);
  t.equal(standby.memoryBytes, 0);
  t.end();
});

t.test('reads that a lost session has not answered are passed on with the next', (t) => {
  const reads = new PassOnWindow(windowBytes);
  const standby = new Standby({ writes: new PassOnWindow(windowBytes), reads });
  standby.submitMany('read', 30);
  const [answered] = standby.takePassed();
  if (answered !== undefined) standby.answer(answered);
  standby.takePassed();
  standby.loseSession();
  t.equal(reads.bytes, 0);
  standby.joined(2);
  const onTheWay = standby.takePassed();
  for (const request of onTheWay) {
    standby.answer(request);
    onTheWay.push(...standby.takePassed());
  }
  t.equal(onTheWay.length, 29);
  t.equal(standby.answers.size, 30);
  t.equal(standby.memoryBytes, 0);
  t.end();
});

t.test('a write whose client has gone while it waited for room is not passed on (R38)', (t) => {
  const standby = new Standby();
  const sent = standby.submitMany('write', 20);
  const gone = standby.submit('write', writeBytes, false);
  const last = standby.submit('write');
  const onTheWay = standby.takePassed();
  for (const request of onTheWay) {
    standby.answer(request);
    onTheWay.push(...standby.takePassed());
  }
  t.same(contents(onTheWay), [...sent, last]);
  t.equal(standby.answers.get(gone), blockError.shutdown);
  t.end();
});

t.test('what the primary refuses comes back to its place', (t) => {
  const standby = new Standby();
  const sent = standby.submitMany('write', 30);
  const first = standby.takePassed();
  for (const request of first.toReversed()) standby.answer(request, { refused: true });
  t.same(standby.takePassed(), [], 'it is left alone for a while');
  standby.nowMs = 1000;
  standby.desk.advance();
  const onTheWay = standby.takePassed();
  const again = contents(onTheWay);
  for (const request of onTheWay) {
    standby.answer(request);
    const followed = standby.takePassed();
    again.push(...contents(followed));
    onTheWay.push(...followed);
  }
  t.same(again, sent);
  t.equal(standby.answers.size, 30);
  t.end();
});

t.test('groups share the window; one that gets no answers does not stop the others', (t) => {
  const writes = new PassOnWindow(windowBytes);
  const passedOn = { writes, reads: new PassOnWindow() };
  const stuck = new Standby(passedOn);
  stuck.submitMany('write', 100);
  t.ok(stuck.takePassed().length >= 9);
  const others = Array.from({ length: 60 }, () => new Standby(passedOn));
  for (const other of others) other.submitMany('write', 20);
  t.ok(writes.bytes <= 4 * windowBytes + writeBytes + overheadBytes, 'all of them are bounded');
  for (let round = 0; round < 60 * 20; round += 1) {
    const next = others.find(({ passed }) => passed.length > 0);
    const [request] = next?.passed.splice(0, 1) ?? [];
    if (next === undefined || request === undefined) break;
    next.answer(request.request);
    if (writes.bytes > 4 * windowBytes + writeBytes + overheadBytes) t.fail('too much is sent');
  }
  t.ok(others.every(({ answers }) => answers.size === 20));
  t.equal(stuck.answers.size, 0);
  stuck.loseSession();
  t.equal(writes.bytes, 0);
  t.end();
});

t.test('the group that has waited longest is next', (t) => {
  const passedOn = { writes: new PassOnWindow(writeBytes), reads: new PassOnWindow() };
  const groups = Array.from({ length: 8 }, () => new Standby(passedOn));
  for (const group of groups) group.submitMany('write', 3);
  const order: number[] = [];
  const onTheWay: { readonly index: number; readonly request: ForwardRequest }[] = [];
  const collect = (): void => {
    groups.forEach((group, index) => {
      onTheWay.push(...group.takePassed().map((request) => ({ index, request })));
    });
  };
  for (collect(); onTheWay.length > 0; collect()) {
    const oldest = onTheWay.shift();
    if (oldest === undefined) break;
    order.push(oldest.index);
    groups[oldest.index]?.answer(oldest.request);
  }
  const turns = [0, 1, 2, 3, 4, 5, 6, 7];
  t.same(order, [...turns, ...turns, ...turns]);
  t.end();
});
