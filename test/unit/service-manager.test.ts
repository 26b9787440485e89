/** What the service manager hears, when, and what happens when it does not listen. */
import { join } from 'node:path';
import t from 'tap';
import { ServiceManager, serviceEnvironment } from '../../daemon/service-manager.ts';
import { sendDatagram } from '../../wal/system-calls.ts';
import { DatagramReceiver } from '../support/datagram-receiver.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

/** A manager whose clock the test turns and whose datagrams it reads. */
function rig(watchdogMs: number | undefined) {
  let nowMs = 5000;
  let timer: { atMs: number; fire: () => void } | undefined;
  const sent: { atMs: number; text: string }[] = [];
  const warnings: string[] = [];
  const receiver = { code: undefined as string | undefined };
  const service = new ServiceManager(
    { socket: '/run/notify', watchdogMs },
    {
      clock: {
        nowMs: () => nowMs,
        setTimer: (delayMs, fire) => {
          timer = { atMs: nowMs + delayMs, fire };
          return () => {
            timer = undefined;
          };
        },
      },
      send: (_socket, text) => {
        if (receiver.code === undefined) sent.push({ atMs: nowMs, text });
        return receiver.code;
      },
      warn: (text) => warnings.push(text),
    },
  );
  return {
    service,
    sent,
    warnings,
    receiver,
    heard: (text: string) => sent.filter((message) => message.text.includes(text)),
    /** Lets time pass, timer by timer; what was asked for meanwhile is answered. */
    pass: async (ms: number) => {
      const endMs = nowMs + ms;
      while (timer !== undefined && timer.atMs <= endMs) {
        nowMs = timer.atMs;
        timer.fire();
        await new Promise((resolve) => setImmediate(resolve));
      }
      nowMs = endMs;
    },
    get ticking() {
      return timer !== undefined;
    },
  };
}

t.test('the environment says whether there is a manager, and whether it watches', async (t) => {
  const none = { socket: undefined, watchdogMs: undefined };
  t.same(serviceEnvironment({}, 7), none);
  t.same(serviceEnvironment({ WATCHDOG_USEC: '4000000' }, 7), none);
  t.same(serviceEnvironment({ NOTIFY_SOCKET: 'vsock:2:1' }, 7), none, 'no socket of this machine');
  const socket = '/run/systemd/notify';
  const variables = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '4000000', WATCHDOG_PID: '7' };
  t.same(serviceEnvironment(variables, 7), { socket, watchdogMs: 4000 });
  t.same(serviceEnvironment(variables, 8), { socket, watchdogMs: undefined }, 'not this process');
});

t.test('without a manager nothing is sent and no timer runs', async (t) => {
  const never = (): never => {
    throw new Error('nobody is there');
  };
  const clock = { nowMs: () => 0, setTimer: never };
  const ports = { clock, send: never, warn: never };
  const service = new ServiceManager(serviceEnvironment({}, 7), ports);
  service.starting('a');
  service.started({ isReady: never, readyWithinMs: 0, sentence: never });
  let reloaded = false;
  await service.reload(() => {
    reloaded = true;
    return 'c';
  });
  t.ok(reloaded, 'a reload is done all the same');
  service.stopping('d');
  service.close();
});

t.test('it is ready when it serves, and until then asks for time', async (t) => {
  const { service, heard, pass } = rig(undefined);
  let serves = false;
  service.starting('Reading the log');
  t.equal(heard('STATUS=Reading the log\n').length, 1);
  await pass(200_000);
  t.equal(heard('READY=1').length, 0, 'the log may take its time');
  t.ok(heard('EXTEND_TIMEOUT_USEC=60000000').length >= 200, 'which is asked for while it turns');
  const sentence = async (): Promise<string> => (serves ? 'All is well' : 'Waits for\nlux-2');
  service.started({ isReady: () => serves, readyWithinMs: 30_000, sentence });
  await pass(10_000);
  t.equal(heard('STATUS=Waits for lux-2\n').length, 1, 'said once, in one line');
  t.equal(heard('READY=1').length, 0);
  serves = true;
  await pass(1000);
  t.equal(heard('READY=1').length, 1);
  await pass(6000);
  t.equal(heard('STATUS=All is well').length, 1);
  t.equal(heard('READY=1').length, 1);
});

t.test('volumes that do not serve make it wait for half a minute, not for ever', async (t) => {
  const { service, heard, pass } = rig(undefined);
  service.starting('Reading the log');
  const sentence = async (): Promise<string> => 'Waits for lux-2';
  service.started({ isReady: () => false, readyWithinMs: 30_000, sentence });
  await pass(29_000);
  t.equal(heard('READY=1').length, 0);
  await pass(2000);
  t.equal(heard('READY=1').length, 1);
});

for (const watchdogMs of [100, 3000, 30_000]) {
  t.test(`a watchdog of ${watchdogMs} ms hears it after half of that at most`, async (t) => {
    const { service, heard, pass } = rig(watchdogMs);
    service.starting('Reading the log');
    // The disk answers nobody any more: the event loop turns all the same.
    const sentence = (): Promise<string> => new Promise(() => undefined);
    service.started({ isReady: () => true, readyWithinMs: 0, sentence });
    await pass(20 * watchdogMs);
    const times = heard('WATCHDOG=1').map(({ atMs }) => atMs);
    const gaps = times.slice(1).map((atMs, index) => atMs - (times[index] ?? 0));
    t.ok(times.length >= 40);
    t.ok(Math.max(...gaps) <= watchdogMs / 2, `longest: ${Math.max(...gaps)} ms`);
    t.ok(Math.min(...gaps) > watchdogMs / 4 - 1, 'and not much more often');
  });
}

t.test('a reload has a beginning with its time, and an end', async (t) => {
  const { service, sent, pass } = rig(undefined);
  service.starting('Reading the log');
  const sentence = async (): Promise<string> => 'All is well';
  service.started({ isReady: () => true, readyWithinMs: 0, sentence });
  await pass(1000);
  const before = sent.length;
  await service.reload(() => 'Configuration reloaded');
  t.same(
    sent.slice(before).map(({ text }) => text),
    ['RELOADING=1\nMONOTONIC_USEC=6000000\n', 'READY=1\nSTATUS=Configuration reloaded\n'],
  );
});

t.test('a stop is told, asks for time, and is the last that is heard', async (t) => {
  const { service, heard, sent, pass, ...rest } = rig(3000);
  service.starting('Reading the log');
  let answer = (_sentence: string): void => undefined;
  const sentence = (): Promise<string> =>
    new Promise((resolve) => {
      answer = resolve;
    });
  service.started({ isReady: () => true, readyWithinMs: 0, sentence });
  service.stopping('Writing to the data files');
  t.equal(heard('STOPPING=1\nSTATUS=Writing to the data files').length, 1);
  answer('All is well');
  await pass(30_000);
  t.equal(heard('All is well').length, 0, 'what was known before is no news any more');
  t.ok(heard('EXTEND_TIMEOUT_USEC').length >= 15);
  service.close();
  const count = sent.length;
  await pass(30_000);
  t.equal(sent.length, count);
  t.notOk(rest.ticking, 'no timer keeps the process');
});

t.test(
  'a manager without room hears everything later, and the newest if it was much',
  async (t) => {
    const { service, sent, heard, warnings, receiver, pass } = rig(undefined);
    receiver.code = 'EAGAIN';
    service.starting('Reading the log');
    let count = 0;
    const sentence = async (): Promise<string> => {
      count += 1;
      return `sentence ${count}`;
    };
    service.started({ isReady: () => true, readyWithinMs: 0, sentence });
    await pass(20_000);
    receiver.code = undefined;
    await pass(1000);
    t.match(sent[0]?.text, 'STATUS=Reading the log', 'in order');
    t.equal(heard('READY=1').length, 1);
    receiver.code = 'EAGAIN';
    await pass(500_000);
    receiver.code = undefined;
    const before = sent.length;
    await pass(1000);
    const late = sent.slice(before).filter(({ text }) => text.startsWith('STATUS='));
    t.ok(late.length <= 17, 'not all of the hundred sentences');
    t.match(late.at(-1)?.text, `sentence ${count}`);
    t.same(warnings, []);
  },
);

t.test('a manager that is gone is said once and harms nobody', async (t) => {
  const { service, warnings, receiver, pass } = rig(3000);
  receiver.code = 'ECONNREFUSED';
  service.starting('Reading the log');
  await pass(60_000);
  t.same(warnings, ["the service manager can't be told at /run/notify: ECONNREFUSED"]);
});

t.test('datagrams reach real sockets, by path and by abstract name', async (t) => {
  const directory = scratchDirectory(t);
  for (const path of [join(directory, 'notify'), `@casemate-test-${process.pid}`]) {
    const receiver = await DatagramReceiver.open(t, path);
    t.same(sendDatagram(path, Buffer.from('READY=1\n')), { value: 8, code: undefined });
    t.equal(sendDatagram(path, Buffer.from('STATUS=Grüße\n')).code, undefined);
    await receiver.heard(/^STATUS=Grüße$/);
    t.same(receiver.lines, ['READY=1', 'STATUS=Grüße']);
  }
  t.equal(sendDatagram(join(directory, 'none'), Buffer.from('x')).code, 'ENOENT');
  t.equal(sendDatagram('@casemate-nobody', Buffer.from('x')).code, 'ECONNREFUSED');
  t.equal(sendDatagram(`/${'x'.repeat(200)}`, Buffer.from('x')).code, 'ENAMETOOLONG');
});
