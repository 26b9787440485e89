/** The end of a removed group (R39) on a disk that is full, or has lost what is to go. */
import SQLite from 'better-sqlite3';
import t from 'tap';
import { GroupEndings } from '../../daemon/group-endings.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { pollUntil } from '../support/poll.ts';

const groupId = 'a'.repeat(32);
const other = `${'b'.repeat(32)}-1.data`;
const ofGroup = ['1.checksums', '1.data', '1.data.stage', '2.data'].map(
  (name) => `${groupId}-${name}`,
);

class Rig {
  readonly disk = new SimulatedDisk({ random: new SeededRandom(1), runsByItself: true });
  readonly events: string[] = [];
  readonly steps: string[] = [];
  readonly failures: unknown[] = [];
  readonly endings: GroupEndings;
  readonly group = {
    groupId,
    groupName: 'g',
    close: () => {
      this.steps.push('closed');
      return Promise.resolve();
    },
  };
  /** What the store fails with. */
  storeError: Error | undefined;
  #waits: (() => void)[] = [];

  constructor() {
    this.endings = new GroupEndings({
      disk: this.disk,
      dataDirectory: '/volumes',
      store: {
        removeGroup: () => {
          if (this.storeError !== undefined) throw this.storeError;
          this.steps.push('removed from the store');
        },
      },
      log: { forget: () => this.steps.push('forgotten by the log') },
      delay: () => new Promise((resolve) => this.#waits.push(resolve)),
      event: (_level, code) => this.events.push(code),
      failed: (error) => this.failures.push(error),
    });
  }

  async begin(): Promise<void> {
    await this.disk.makeDirectory('/volumes');
    for (const name of [...ofGroup, other]) {
      const file = await this.disk.open(`/volumes/${name}`, { create: true, durableWrites: false });
      await file.close();
    }
  }

  get isWaiting(): boolean {
    return this.#waits.length > 0;
  }

  async waits(): Promise<void> {
    await pollUntil('it waits for room', () => this.isWaiting);
  }

  passTime(): void {
    for (const wake of this.#waits.splice(0)) wake();
  }

  async ended(): Promise<void> {
    await pollUntil('it has ended', () => !this.endings.has(groupId));
  }

  async files(directory = '/volumes'): Promise<readonly string[]> {
    return (await this.disk.list(directory)).filter((name) => name.includes('-'));
  }
}

t.test('a removed group takes its files with it, or leaves them set aside', async (t) => {
  for (const how of ['delete-files', 'set-aside'] as const) {
    const rig = new Rig();
    await rig.begin();
    await rig.endings.end(rig.group, how);
    t.same(rig.steps, ['closed', 'removed from the store', 'forgotten by the log']);
    t.same(await rig.files(), [other]);
    t.same(await rig.files('/volumes/removed'), how === 'set-aside' ? ofGroup : []);
    t.same(rig.events, []);
  }
});

t.test('a store that is full is waited for, by nobody but the site', async (t) => {
  const rig = new Rig();
  await rig.begin();
  rig.storeError = new SQLite.SqliteError('full', 'SQLITE_FULL');
  await rig.endings.end(rig.group, 'delete-files');
  t.ok(rig.endings.has(groupId));
  await rig.waits();
  rig.passTime();
  await rig.waits();
  t.same(rig.events, ['removal-waits'], 'told once');
  t.same(rig.steps, ['closed']);
  t.equal((await rig.files()).length, 5, 'first the store, then the files');
  rig.storeError = undefined;
  rig.passTime();
  await rig.ended();
  t.same(await rig.files(), [other]);
  t.same(rig.failures, []);
});

for (const operation of ['make-directory', 'rename', 'sync-directory'] as const) {
  t.test(`a disk that is full for ${operation} is waited for`, async (t) => {
    const rig = new Rig();
    await rig.begin();
    rig.disk.inject({ operation, code: 'ENOSPC', times: 2 });
    await rig.endings.end(rig.group, 'set-aside');
    await rig.waits();
    rig.passTime();
    await rig.waits();
    t.same(rig.events, ['removal-waits']);
    rig.passTime();
    await rig.ended();
    t.same(await rig.files('/volumes/removed'), ofGroup);
    t.same(await rig.files(), [other]);
  });
}

t.test('files that are gone already are no error', async (t) => {
  for (const how of ['delete-files', 'set-aside'] as const) {
    const rig = new Rig();
    await rig.begin();
    const operation = how === 'set-aside' ? 'rename' : 'remove';
    rig.disk.inject({ operation, code: 'ENOENT', pathContains: '.stage' });
    await rig.endings.end(rig.group, how);
    t.same(rig.events, []);
    t.same(await rig.files(), [`${groupId}-1.data.stage`, other]);
  }
});

t.test('files that can’t be set aside are told of, and end nothing', async (t) => {
  const rig = new Rig();
  await rig.begin();
  rig.disk.inject({ operation: 'rename', code: 'EPERM', pathContains: '1.data' });
  await rig.endings.end(rig.group, 'set-aside');
  t.same(rig.events, ['files-left']);
  t.same(await rig.files(), [`${groupId}-1.data`, other], 'the others are set aside');
});

t.test('a store that fails in earnest is no store that is full', async (t) => {
  const rig = new Rig();
  await rig.begin();
  rig.storeError = new SQLite.SqliteError('broken', 'SQLITE_IOERR');
  await t.rejects(rig.endings.end(rig.group, 'delete-files'), { code: 'SQLITE_IOERR' });
  const later = new Rig();
  await later.begin();
  later.storeError = new SQLite.SqliteError('full', 'SQLITE_FULL');
  await later.endings.end(later.group, 'delete-files');
  await later.waits();
  later.storeError = rig.storeError;
  later.passTime();
  await later.ended();
  t.match(later.failures, [{ code: 'SQLITE_IOERR' }], 'the site learns of it');
});

t.test('what waits for room ends with the site', async (t) => {
  const rig = new Rig();
  await rig.begin();
  rig.storeError = new SQLite.SqliteError('full', 'SQLITE_FULL');
  await rig.endings.end(rig.group, 'delete-files');
  await rig.waits();
  const closed = rig.endings.close();
  rig.passTime();
  await closed;
  t.same(rig.steps, ['closed'], 'the next start goes on with it');
});
