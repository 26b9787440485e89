/** The daemons as a service manager has them: a real pair and a real witness, heard by a socket. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DatagramReceiver } from '../support/datagram-receiver.ts';
import { TestPair } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

/** Starts a process that has this socket to tell. */
async function telling(receiver: DatagramReceiver, start: () => Promise<void>): Promise<void> {
  process.env['NOTIFY_SOCKET'] = receiver.path;
  process.env['WATCHDOG_USEC'] = '1000000';
  try {
    // The child has its environment as soon as start has been called.
    await start();
  } finally {
    delete process.env['NOTIFY_SOCKET'];
    delete process.env['WATCHDOG_USEC'];
  }
}

function replaceIn(path: string, from: string | RegExp, to: string): void {
  writeFileSync(path, readFileSync(path, 'utf8').replace(from, to));
}

t.test('a site is ready when its volumes are served, and says what they wait for', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'disk', '--size', '16MiB');
  await pair.inSync('disk');
  await pair.stop();

  const manager = await DatagramReceiver.open(t, join(directory, 'notify'));
  await telling(manager, () => pair.a.start());
  const reading = await manager.heard(/^STATUS=Reading the log/);
  const waiting = await manager.heard(/^STATUS=Serves 0 of 1 volume; .*waits for the other one/);
  t.ok(reading < waiting, 'in this order');
  t.notOk(manager.lines.includes('READY=1'), 'one site alone does not serve');
  await pair.b.start();
  const ready = await manager.heard(/^READY=1$/);
  await manager.heard(/^STATUS=All is well: serves 1 of 1 volume, in sync with lux-2$/);
  const fed = manager.lines.filter((line) => line === 'WATCHDOG=1').length;
  await pollUntil('the watchdog is fed', () => {
    return manager.lines.filter((line) => line === 'WATCHDOG=1').length > fed + 2;
  });

  await pair.b.signal('SIGKILL');
  await manager.heard(/^STATUS=Serves 0 of 1 volume; /, ready);
  t.equal(await pair.a.signal('SIGTERM'), 0);
  const stopping = await manager.heard(/^STOPPING=1$/);
  t.match(manager.lines[stopping + 1], /^STATUS=Writing/);
});

t.test(
  'SIGHUP: the log level changes, other keys wait, a wrong file changes nothing',
  async (t) => {
    const directory = scratchDirectory(t);
    const pair = await TestPair.make({ directory });
    t.teardown(() => pair.stop());
    const manager = await DatagramReceiver.open(t, join(directory, 'notify'));
    await telling(manager, () => pair.a.start());
    const reload = async (): Promise<{ told: string | undefined; logged: string }> => {
      const [from, logFrom] = [manager.lines.length, pair.a.log().length];
      process.kill(pair.a.pid, 'SIGHUP');
      const reloading = await manager.heard(/^RELOADING=1$/, from);
      t.match(manager.lines[reloading + 1], /^MONOTONIC_USEC=\d+$/);
      const ready = await manager.heard(/^READY=1$/, reloading);
      return { told: manager.lines[ready + 1], logged: pair.a.log().slice(logFrom) };
    };
    await manager.heard(/^READY=1$/);
    replaceIn(pair.a.configPath, /$/, '\n[logging]\nlevel = "silent"\n');
    const silenced = await reload();
    t.equal(silenced.told, 'STATUS=Configuration reloaded');
    t.equal(silenced.logged, '', 'nothing is written any more');
    replaceIn(pair.a.configPath, 'level = "silent"', 'level = "info"\n[events]\ncountMax = 777');
    const spoken = await reload();
    t.equal(spoken.told, 'STATUS=Configuration reloaded; needs a restart: events.countMax');
    t.match(spoken.logged, /"keys":\["events.countMax"\]/);
    replaceIn(pair.a.configPath, 'level = "info"', 'level = "loud"');
    const refused = await reload();
    t.match(refused.told, /^STATUS=Not reloaded: .*logging\.level/);
    t.ok(pair.a.running, 'and it goes on');
    await pair.a.status();
  },
);

t.test('a witness is ready when it votes, and says which sites it has', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, witness: true });
  t.teardown(() => pair.stop());
  const manager = await DatagramReceiver.open(t, join(directory, 'notify'));
  await telling(manager, () => pair.witness.start());
  await manager.heard(/^READY=1$/);
  await manager.heard(/^STATUS=Votes for 1 pair, 0 of 2 sites connected; .*lux-1, lux-2$/);
  await pair.a.start();
  await manager.heard(/^STATUS=Votes for 1 pair, 1 of 2 sites connected; not connected: lux-2$/);
  process.kill(pair.witness.pid, 'SIGHUP');
  await manager.heard(/^STATUS=Configuration reloaded$/);
  process.kill(pair.witness.pid, 'SIGTERM');
  await manager.heard(/^STOPPING=1$/);
});
