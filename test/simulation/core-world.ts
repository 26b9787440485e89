/**
 * The randomized model of one group: two production cores with simulated logs, sessions, a register
 * and clients, under crashes, pauses, cut links, drifting clocks and a replaced store. Each seed
 * has its own mix of faults. After the faults everything must come together again.
 */
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreTimes } from '../../replication/core/events.ts';
import type { HistoryPoint } from '../../wal/frame.ts';
import { checkLinearizable, type Operation } from './core-linearizability.ts';
import { type SimulatedFrame, Violation } from './core-log.ts';
import { SimulatedNetwork } from './core-network.ts';
import { RandomNumbers } from './core-random-numbers.ts';
import { SimulatedRegister } from './core-register.ts';
import {
  blankStore,
  type HeldRequest,
  type Packet,
  SimulatedSite,
  type SiteHost,
  type SwapRequest,
  simulatedTimes,
} from './core-site.ts';

export type Mode = 'witness' | 'suspend' | 'preferred';
export type Mutation =
  | 'none'
  | 'reads-without-lease'
  | 'reads-before-epoch-start'
  | 'late-clock'
  | 'acks-before-sync'
  | 'cut-not-kept'
  | 'forgets-grace'
  | 'short-grace'
  | 'answers-without-waiting'
  | 'answers-while-dropping'
  | 'applies-uncommitted'
  | 'assumes-swaps-won'
  | 'mixes-sessions'
  | 'blank-under-old-name'
  | 'solo-tail-is-committed'
  | 'never-reads-register';

const blocks = 2;
const stepCount = 700;
const healingStepsMax = 8000;
const operationsMax = 90;
const actions = [
  'deliver',
  'sync',
  'timers',
  'send',
  'client',
  'inbox',
  'register',
  'apply',
  'checkpoint',
  'crash',
  'restart',
  'pause',
  'resume',
  'break',
  'connect',
  'cutLink',
  'heal',
  'stale',
  'lose',
  'witness',
  'switch',
  'blank',
] as const;
type Action = (typeof actions)[number];
type Weights = Record<Action, number>;

const quietWeights: Weights = {
  deliver: 30,
  sync: 12,
  timers: 14,
  send: 12,
  client: 0,
  inbox: 8,
  register: 10,
  apply: 3,
  checkpoint: 1,
  crash: 0,
  restart: 0,
  pause: 0,
  resume: 0,
  break: 0,
  connect: 4,
  cutLink: 0,
  heal: 0,
  stale: 1,
  lose: 0,
  witness: 0,
  switch: 0,
  blank: 0,
};

export class CoreWorld implements SiteHost {
  readonly random_: RandomNumbers;
  readonly mutation: Mutation;
  readonly mode: Mode;
  readonly times: CoreTimes;
  readonly a: SimulatedSite;
  readonly b: SimulatedSite;
  readonly network: SimulatedNetwork;
  readonly register: SimulatedRegister;
  readonly operations = new Map<number, Operation>();
  readonly trace: string[] = [];
  #nowMs = 0;
  #faults = true;
  #weights: Weights;
  #pace: number;
  #readShare = 0.5;
  #hunts = false;
  #ids = 0;
  #values = 0;
  readonly #links = { peer: true, a: true, b: true };
  #witnessUp = true;
  /** Digest of the history through each committed record, whoever committed it. */
  readonly #committed = new Map<number, string>();
  readonly #named = new Map<string, string>();

  constructor(seed: number, mutation: Mutation = 'none') {
    const random = new RandomNumbers(seed);
    this.random_ = random;
    this.mutation = mutation;
    this.mode = random.of<Mode>([
      'witness',
      'witness',
      'witness',
      'witness',
      'suspend',
      'preferred',
    ]);
    this.times = mutation === 'short-grace' ? { ...simulatedTimes, graceMs: 4000 } : simulatedTimes;
    this.network = new SimulatedNetwork(random);
    this.network.mixesSessions = mutation === 'mixes-sessions';
    this.a = new SimulatedSite('A', this);
    this.b = new SimulatedSite('B', this);
    const first: GroupConfig = {
      epoch: 1,
      epochId: 'first',
      primary: 'A0',
      inSync: ['A0', 'B0'],
      acceptors: this.acceptorsOf('A0', 'B0'),
      leaseMs: this.times.leaseMs,
      graceMs: this.times.graceMs,
    };
    const world = this;
    this.register = new SimulatedRegister(
      {
        random,
        get faults() {
          return world.#faults;
        },
        reachable: (site) => this.#reachable(site),
      },
      first,
    );
    this.register.deaf = mutation === 'never-reads-register';
    for (const site of this.sites) {
      site.rate = random.between(0.952, 1.048);
      this.#start(site);
    }
    this.#pace = random.of([100, 300, 600]);
    this.#weights = this.#mix();
    if (random.chance(0.4)) this.#huntStaleReads();
  }

  get sites(): readonly [SimulatedSite, SimulatedSite] {
    return [this.a, this.b];
  }

  #mix(): Weights {
    const random = this.random_;
    return {
      deliver: 30,
      sync: 12,
      timers: 14,
      send: 12,
      client: 6,
      inbox: 8,
      register: random.of([2, 10]),
      apply: 3,
      checkpoint: random.of([0, 1]),
      crash: random.of([0, 0.1, 0.4, 1]),
      restart: random.of([1.5, 12]),
      pause: random.of([0, 0.2, 0.8]),
      resume: random.of([0.2, 0.8]),
      break: random.of([0, 0.3, 1]),
      connect: 4,
      cutLink: random.of([0, 0.1, 0.3]),
      heal: random.of([0.2, 0.6]),
      stale: random.of([1, 8]),
      lose: random.of([0, 0.5, 2]),
      witness: random.of([0, 0.1, 0.2]),
      switch: random.of([0, 0.3]),
      blank: random.of([0, 0, 0.15]),
    };
  }

  /** Pauses and reads, little else. */
  #huntStaleReads(): void {
    const random = this.random_;
    Object.assign(this.#weights, {
      pause: 1,
      resume: 4,
      crash: random.of([0, 0.3]),
      client: 10,
      inbox: 14,
      blank: 0,
      cutLink: 0,
      witness: 0,
      break: 0.1,
      switch: random.of([0, 0.5]),
    });
    this.#pace = 600;
    this.#readShare = 0.7;
    this.#hunts = true;
    const [slow, fast] = random.of([this.sites, [this.b, this.a] as const]);
    slow.rate = 0.952;
    fast.rate = 1.048;
  }

  peerOf(site: SimulatedSite): SimulatedSite {
    return site === this.a ? this.b : this.a;
  }

  // --- what the sites ask for (SiteHost)

  random(): number {
    return this.random_.next();
  }

  newId(): string {
    this.#ids += 1;
    return `id${this.#ids}`;
  }

  send(site: SimulatedSite, session: number, packet: Packet): void {
    this.network.send(site, this.peerOf(site), session, packet);
  }

  closed(site: SimulatedSite, session: number): void {
    this.network.closed(site, this.peerOf(site), session);
  }

  readRegister(site: SimulatedSite): void {
    this.register.request(site, undefined);
  }

  acceptorsOf(me: string, peer: string): readonly string[] {
    if (this.mode === 'witness') return [me, peer, 'W'];
    if (this.mode === 'suspend') return [me, peer];
    return [me, peer].filter((store) => store.startsWith('A'));
  }

  recoveredCommit(site: SimulatedSite, commit: number): number {
    const alone = site.log.lastEpochStart?.inSync.join() === site.store.storeId;
    return this.mutation === 'solo-tail-is-committed' && alone ? site.log.end.sequence : commit;
  }

  startShiftMs(): number {
    return this.mutation === 'forgets-grace' ? simulatedTimes.graceMs * 2 : 0;
  }

  clockMs(site: SimulatedSite): number {
    return this.mutation === 'late-clock' ? site.cachedClockMs : this.trueClockMs(site);
  }

  trueClockMs(site: SimulatedSite): number {
    return this.#nowMs * site.rate;
  }

  /** I2: one record for an epoch and a sequence. */
  appended(site: SimulatedSite, frame: SimulatedFrame): void {
    for (let at = frame.firstSequence; at <= frame.lastSequence; at += 1) {
      const name = `${frame.epoch}/${at}`;
      const content = `${frame.epochId}/${JSON.stringify(frame.records[at - frame.firstSequence])}`;
      const known = this.#named.get(name) ?? content;
      if (known !== content) {
        throw new Violation(
          `I2: two records for epoch ${frame.epoch} sequence ${at} (${site.name})`,
        );
      }
      this.#named.set(name, content);
    }
    if (this.mutation === 'acks-before-sync' && site.core.view().joinedSession !== undefined) {
      const sequence = frame.lastSequence;
      site.step({ kind: 'durable', sequence });
    }
  }

  /** I1, I11: what is committed is the same everywhere and for ever. */
  committed(site: SimulatedSite, sequence: number): void {
    for (const frame of site.log.frames) {
      if (frame.lastSequence > sequence) break;
      const known = this.#committed.get(frame.lastSequence) ?? frame.digestAfter;
      if (known !== frame.digestAfter) {
        throw new Violation(`two histories committed at ${frame.lastSequence} (${site.name})`);
      }
      this.#committed.set(frame.lastSequence, frame.digestAfter);
    }
    this.#answer(site, sequence);
  }

  #answer(site: SimulatedSite, through: number): void {
    for (const [sequence, number] of site.unanswered) {
      if (sequence > through) continue;
      site.unanswered.delete(sequence);
      const operation = this.operations.get(number);
      if (operation !== undefined) operation.respondedMs ??= this.#nowMs;
    }
  }

  cut(site: SimulatedSite, to: HistoryPoint): void {
    this.told(site, `cuts to ${to.sequence}`);
    if (to.sequence < site.store.applied) {
      throw new Violation(`I3: ${site.name} cuts to ${to.sequence}, applied ${site.store.applied}`);
    }
  }

  swapSent(site: SimulatedSite, request: SwapRequest): void {
    if (this.mutation !== 'assumes-swaps-won' || request.name === 'add') return;
    this.register.decide(request);
    site.swap = undefined;
    site.step({ kind: 'swapWon', config: request.next });
  }

  told(site: SimulatedSite, text: string): void {
    this.trace.push(`${this.#nowMs.toFixed(0).padStart(8)} ${site.name} ${text}`);
  }

  // --- faults

  #start(site: SimulatedSite): void {
    site.cachedClockMs = this.trueClockMs(site);
    this.told(site, `starts ${site.store.storeId}, log ${site.log.end.sequence}`);
    site.start(this.trueClockMs(site));
    site.step({ kind: 'tick' });
  }

  #crash(site: SimulatedSite): void {
    const { session } = site;
    if (session !== undefined) {
      site.session = undefined;
      this.network.closed(site, this.peerOf(site), session);
    }
    site.crash(this.mutation === 'cut-not-kept' ? 0 : this.random_.whole(0, site.log.unsynced));
    this.told(site, `crashes, log ${site.log.end.sequence}`);
  }

  #replace(site: SimulatedSite): void {
    const peer = this.peerOf(site);
    const stores = this.register.value.inSync;
    if (this.mode !== 'witness' || !stores.includes(peer.store.storeId) || site.life >= 40) return;
    if (site.up) this.#crash(site);
    const number = Number(site.store.storeId.slice(1)) + 1;
    const same = this.mutation === 'blank-under-old-name';
    site.store = blankStore(same ? site.store.storeId : `${site.name}${number}`);
    this.told(site, `is replaced by a blank ${site.store.storeId}`);
  }

  #reachable(site: SimulatedSite): boolean {
    const isUp = (name: string): boolean => {
      if (name === 'W') return this.#witnessUp;
      const other = name === 'A' ? this.a : this.b;
      return other.up && !other.paused;
    };
    const isLinked = (name: string): boolean => {
      if (name === site.name) return true;
      if (name === 'W') return site.name === 'A' ? this.#links.a : this.#links.b;
      return this.#links.peer;
    };
    const names = { witness: ['A', 'B', 'W'], suspend: ['A', 'B'], preferred: ['A'] }[this.mode];
    const count = names.filter((name) => isUp(name) && isLinked(name)).length;
    return count * 2 > names.length;
  }

  // --- clients

  #request(site: SimulatedSite): void {
    if (!site.up || this.operations.size >= operationsMax) return;
    const operation = this.operations.size + 1;
    const block = this.random_.whole(0, blocks - 1);
    const isRead = this.random_.chance(this.#readShare);
    if (!isRead) this.#values += 1;
    this.operations.set(operation, {
      block,
      kind: isRead ? 'read' : 'write',
      value: isRead ? 0 : this.#values,
      invokedMs: this.#nowMs,
      respondedMs: undefined,
    });
    site.inbox.push({ operation, block, value: isRead ? undefined : this.#values });
  }

  #handle(site: SimulatedSite): void {
    const held = site.inbox.shift();
    if (held === undefined) return;
    if (held.value === undefined) this.#read(site, held);
    else this.#write(site, held, held.value);
  }

  #read(site: SimulatedSite, held: HeldRequest): void {
    const through = this.#readPoint(site);
    if (through === undefined) {
      site.inbox.push(held);
      return;
    }
    const operation = this.operations.get(held.operation);
    if (operation === undefined) return;
    operation.value = site.log.valueAt(held.block, through);
    operation.respondedMs = this.#nowMs;
  }

  /** Up to where a read sees the log; undefined while reads are not served. */
  #readPoint(site: SimulatedSite): number | undefined {
    const view = site.core.view();
    if (this.mutation === 'reads-without-lease' && view.takesReads) return view.commit;
    if (this.mutation === 'reads-before-epoch-start' && view.reigning && !view.takesReads) {
      return view.waitReason?.code === 'epoch-start' ? view.end.sequence : undefined;
    }
    return site.core.mayRead(this.clockMs(site)) ? view.commit : undefined;
  }

  #write(site: SimulatedSite, held: HeldRequest, value: number): void {
    if (!site.core.view().takesWrites) {
      site.inbox.push(held);
      return;
    }
    site.records.push({ block: held.block, value, operation: held.operation });
    if (this.random_.chance(0.7)) site.formFrame();
  }

  // --- the schedule

  step(): void {
    const random = this.random_;
    this.#nowMs += random.next() * (this.#faults ? this.#pace : 60);
    const action = random.weighted(this.#faults ? this.#weights : quietWeights);
    const site = random.of(this.sites);
    if (action === 'pause' && this.#hunts && this.sites.some(({ paused }) => paused)) return;
    const alive = site.up && !site.paused;
    if (alive && action !== 'inbox' && random.chance(0.2)) {
      site.cachedClockMs = this.trueClockMs(site);
    }
    if (alive) this.#actOfSite(site, action);
    this.#actOfFate(site, action);
    this.#check();
  }

  #actOfSite(site: SimulatedSite, action: Action): void {
    const random = this.random_;
    switch (action) {
      case 'deliver':
        if (this.#links.peer || random.chance(0.3)) this.network.deliver(site);
        break;
      case 'sync':
        site.sync(random.whole(1, Math.max(1, site.log.unsynced)));
        break;
      case 'timers':
        this.#timers(site);
        break;
      case 'send':
        site.sendFrames(random.whole(1, 3));
        break;
      case 'inbox':
        this.#handle(site);
        break;
      case 'apply':
        this.#apply(site);
        break;
      case 'checkpoint':
        this.#checkpoint(site);
        break;
      case 'switch':
        if (site.core.view().takesWrites) site.step({ kind: 'switchover' });
        break;
      default:
        break;
    }
  }

  #timers(site: SimulatedSite): void {
    site.step({ kind: 'tick' });
    const clockMs = this.trueClockMs(site);
    if (!site.up) return;
    site.formFrame();
    if (this.mutation === 'answers-without-waiting' || this.mutation === 'answers-while-dropping') {
      this.#answerEarly(site);
    }
    const { swap } = site;
    if (swap === undefined || clockMs - swap.sentAtMs < 3000) return;
    swap.sentAtMs = clockMs;
    this.register.request(site, swap);
  }

  #answerEarly(site: SimulatedSite): void {
    const { reigning, config, durable, waitReason } = site.core.view();
    if (!reigning || config === undefined) return;
    const solo = config.inSync.length === 1;
    const dropping = waitReason?.code === 'peer-lost';
    const early = this.mutation === 'answers-without-waiting' ? solo : dropping;
    if (early) this.#answer(site, durable);
  }

  #apply(site: SimulatedSite): void {
    const { commit, durable } = site.core.view();
    const limit = this.mutation === 'applies-uncommitted' ? durable : commit;
    const { applied } = site.store;
    if (limit > applied) site.store.applied = this.random_.whole(applied, limit);
  }

  #checkpoint(site: SimulatedSite): void {
    const { commit } = site.core.view();
    const { applied, checkpoint } = site.store;
    const frame = site.log.frames.findLast(
      ({ lastSequence }) => lastSequence <= Math.min(applied, commit),
    );
    if (frame === undefined || frame.lastSequence <= checkpoint.sequence) return;
    site.store.checkpoint = { sequence: frame.lastSequence, digest: frame.digestAfter };
    site.step({ kind: 'checkpointed', checkpoint: site.store.checkpoint });
  }

  #actOfFate(site: SimulatedSite, action: Action): void {
    const random = this.random_;
    switch (action) {
      case 'client':
        this.#request(site);
        break;
      case 'register':
        this.register.step();
        break;
      case 'crash':
        if (site.up) this.#crash(site);
        break;
      case 'restart':
        if (!site.up) this.#start(site);
        break;
      case 'pause':
        if (!site.up) break;
        site.paused = true;
        site.resumeAtMs = this.#nowMs + this.times.graceMs * random.between(0.3, 2.5);
        this.told(site, 'is paused');
        break;
      case 'resume':
        this.#resume(site);
        break;
      case 'break':
        for (const each of this.sites) {
          if (random.chance(0.7) && !each.paused) this.network.break(each, this.peerOf(each));
        }
        break;
      case 'connect':
        if (this.#links.peer) this.network.connect(this.a, this.b);
        break;
      case 'cutLink':
        this.#links[random.of(['peer', 'a', 'b'] as const)] = false;
        break;
      case 'heal':
        this.#heal();
        break;
      case 'stale':
        this.network.deliverStale();
        break;
      case 'lose':
        if (random.chance(0.3)) this.register.loseOne();
        break;
      case 'witness':
        this.#witnessUp = !this.#witnessUp;
        break;
      case 'blank':
        this.#replace(site);
        break;
      default:
        break;
    }
  }

  #heal(): void {
    this.#links.peer = true;
    this.#links.a = true;
    this.#links.b = true;
  }

  /** What lay in its sockets comes before its timers. */
  #resume(site: SimulatedSite): void {
    if (!site.paused || !site.up || (this.#hunts && this.#nowMs < site.resumeAtMs)) return;
    site.paused = false;
    this.told(site, 'resumes');
    for (let count = this.#hunts ? this.random_.whole(1, 4) : 0; count > 0; count -= 1) {
      if (!this.random_.chance(0.3) || !this.network.deliver(site)) this.#handle(site);
      this.#check();
    }
  }

  // --- the checks

  #check(): void {
    if (this.mutation !== 'late-clock' && this.sites.every((site) => this.#serves(site))) {
      throw new Violation('I4: both sites serve');
    }
    for (const site of this.sites) {
      if (!site.up) continue;
      if (site.store.applied > site.log.end.sequence) {
        throw new Violation(`I3: ${site.name} has applied more than its log holds`);
      }
      const { split, damaged, inconsistent } = site.store.flags;
      if (split || damaged || inconsistent) {
        throw new Violation(`${site.name} believes that its copy is split or damaged`);
      }
    }
  }

  #serves(site: SimulatedSite): boolean {
    if (!site.up || site.paused) return false;
    if (this.mutation === 'reads-without-lease') return site.core.view().takesReads;
    return site.core.mayRead(this.trueClockMs(site));
  }

  /** One run: faults, then healing, then the checks. Throws a Violation. */
  run(): 'ok' | 'unavailable' {
    for (let count = 0; count < stepCount; count += 1) this.step();
    this.#faults = false;
    this.#heal();
    this.#witnessUp = true;
    for (const site of this.sites) {
      site.paused = false;
      if (!site.up) this.#start(site);
    }
    const stores = this.sites.map((site) => site.store.storeId);
    if (!this.#converges(stores)) {
      // The only in-sync store was replaced: only force helps.
      if (!this.register.value.inSync.some((store) => stores.includes(store))) {
        return 'unavailable';
      }
      throw new Violation(`no convergence: ${this.describe()}`);
    }
    this.#finalReads();
    checkLinearizable(this.operations.values(), blocks);
    return 'ok';
  }

  #converges(stores: readonly string[]): boolean {
    for (let count = 0; count < healingStepsMax; count += 1) {
      this.step();
      if (count % 50 === 0 && this.#isConverged(stores)) return true;
    }
    return false;
  }

  #isConverged(stores: readonly string[]): boolean {
    const [a, b] = this.sites;
    if (!stores.every((store) => this.register.value.inSync.includes(store))) return false;
    if (a.core.view().reigning === b.core.view().reigning) return false;
    if (a.log.end.digest !== b.log.end.digest) return false;
    return this.sites.every((site) => {
      const { end, commit, durable } = site.core.view();
      const isDone = commit === end.sequence && durable === end.sequence && site.log.quiet;
      const isIdle = site.swap === undefined && site.records.length === 0;
      return isDone && isIdle && !(site.core.view().reigning && site.inbox.length > 0);
    });
  }

  #finalReads(): void {
    const site = this.sites.find((each) => each.core.view().reigning);
    if (site === undefined) throw new Violation('nobody reigns after convergence');
    for (let block = 0; block < blocks; block += 1) {
      this.#nowMs += 1000;
      this.operations.set(this.operations.size + 1, {
        block,
        kind: 'read',
        value: site.log.valueAt(block, site.core.view().commit),
        invokedMs: this.#nowMs,
        respondedMs: this.#nowMs + 100,
      });
      this.#nowMs += 1000;
    }
  }

  describe(): string {
    const sites = this.sites.map((site) => {
      const view = site.up ? site.core.view() : undefined;
      return JSON.stringify({
        site: site.name,
        up: site.up,
        swap: site.swap?.name,
        session: site.session,
        role: view?.role,
        reigning: view?.reigning,
        wait: view?.waitReason?.code,
        peer: view?.peer,
        config: view?.config,
        end: view?.end.sequence,
        commit: view?.commit,
        durable: view?.durable,
        inbox: site.inbox.length,
      });
    });
    return `${this.mode} register ${JSON.stringify(this.register.value)} ${sites.join(' ')}`;
  }
}
