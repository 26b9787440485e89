/** Volumes that are made, grown and removed at both sites at once, or by one that dies with it. */
import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import { CasemateError } from '../../daemon/errors.ts';
import { pollUntil } from '../support/poll.ts';
import { type SpoiledSite, spoiledPair } from '../support/site-pair.ts';

const sizeBytes = 1024 * 1024;

/** What the operator is told. */
const toldOf = [
  () => 'removed',
  (error: unknown) => (error instanceof CasemateError ? error.code : 'no clear error'),
] as const;

function namesAt({ site }: SpoiledSite): string[] {
  return [...site.groups.volumes()].map(({ volume }) => volume.name).sort();
}

t.test(
  'a volume of one name is not made twice, and can be made after that was tried',
  async (t) => {
    const { a, b } = await spoiledPair(t);
    const both = [a, b].map(({ site }) => site.createVolume({ name: 'twice', sizeBytes }));
    const made = (await Promise.allSettled(both)).filter(({ status }) => status === 'fulfilled');
    t.ok(made.length < 2, 'at most one of two operators is told that it was made');
    await pollUntil('both sites have the same', () => String(namesAt(a)) === String(namesAt(b)));
    t.same(namesAt(a), made.length === 1 ? ['blocks', 'twice'] : ['blocks']);
    if (made.length === 0) await b.site.createVolume({ name: 'twice', sizeBytes });
    t.same(namesAt(a), ['blocks', 'twice']);
    t.same(namesAt(b), ['blocks', 'twice']);
  },
);

t.test('nor is it in two groups', async (t) => {
  const { a, b } = await spoiledPair(t);
  const made = await Promise.allSettled([
    b.site.createVolume({ name: 'twice', group: 'blocks', sizeBytes }),
    a.site.createVolume({ name: 'twice', sizeBytes }),
    a.site.createVolume({ name: 'twice', group: 'blocks', sizeBytes }),
  ]);
  t.ok(made.filter(({ status }) => status === 'fulfilled').length < 2);
  t.ok(namesAt(a).filter((name) => name === 'twice').length < 2);
});

t.test('a volume that is removed at both sites at once is gone', async (t) => {
  const { a, b } = await spoiledPair(t);
  const removals = [a, b, a].map(({ site }) => site.deleteVolume('blocks'));
  const results = await Promise.allSettled(removals);
  const told = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  // The last one to ask may find it gone already.
  for (const error of told) t.match(error, { code: 'ERR_NO_SUCH_VOLUME' });
  t.ok(told.length < 2);
  await pollUntil('the group is gone', () =>
    [a, b].every(({ site }) => [...site.groups.all].length === 0),
  );
});

t.test('what is removed twice takes no other volume of its group with it', async (t) => {
  const { a, b } = await spoiledPair(t);
  for (let round = 0; round < 8; round += 1) {
    await a.site.createVolume({ name: 'another', group: 'blocks', sizeBytes });
    const removals: Promise<string>[] = [];
    // Those that ask last have found it, and do their part when it is gone.
    while (namesAt(a).includes('another')) {
      removals.push(a.site.deleteVolume('another').then(...toldOf));
      await setImmediate();
    }
    t.ok((await Promise.all(removals)).includes('removed'));
    await pollUntil('both sites have the same', () => String(namesAt(a)) === String(namesAt(b)));
    t.same(namesAt(a), ['blocks']);
  }
  await a.write('1');
  t.equal(await a.read(), '1');
});

t.test('volumes that are made in one group at once are all made', async (t) => {
  const { a, b } = await spoiledPair(t);
  const names = ['one', 'two', 'three', 'four'];
  const made = names.map((name, index) =>
    (index % 2 === 0 ? a : b).site.createVolume({ name, group: 'blocks', sizeBytes }),
  );
  await Promise.all(made);
  for (const site of [a, b]) t.same(namesAt(site), ['blocks', ...names].sort());
});

t.test('a group that the register calls removed ends also if nobody tells the site', async (t) => {
  const { a, b } = await spoiledPair(t);
  const [group] = a.site.groups.all;
  const config = group?.view.config;
  if (group === undefined || config === undefined) throw new Error('there is a group');
  const { epoch } = config;
  // As by a site that dies with the swap under way.
  const next = { ...config, epoch: epoch + 1, epochId: 'f'.repeat(32), removed: true };
  t.equal((await group.register.swap(config, next)).outcome, 'won');
  const isKnown = ({ site }: SpoiledSite): boolean =>
    [...site.groups.all].every(({ view }) => view.config?.removed === true);
  await pollUntil('both sites know', () => [a, b].every(isKnown));
  await pollUntil('the group is gone', () => {
    for (const site of [a, b]) site.lateMs += 1000;
    return [a, b].every(({ site }) => [...site.groups.all].length === 0);
  });
  await pollUntil('it is told', () => a.events().includes('its data is kept in "removed"'));
});

t.test('what neither site can do is not passed to and fro', async (t) => {
  const { b } = await spoiledPair(t);
  const asked = [
    b.site.operations.resize('blocks', 16 * sizeBytes, 'peer'),
    b.site.operations.delete('blocks', 'peer'),
    b.site.operations.switchover('blocks', 'peer'),
    b.site.operations.addVolume('blocks', 'another', sizeBytes),
  ];
  for (const each of await Promise.allSettled(asked)) {
    const error: unknown = each.status === 'rejected' ? each.reason : undefined;
    t.equal(error instanceof CasemateError && error.code, 'ERR_NOT_SERVING');
  }
});

t.test('a new primary shows what was answered, also while its disk makes a volume', async (t) => {
  const { a, b } = await spoiledPair(t);
  await a.write('1');
  b.disk.stall('write-checksums');
  const made = a.site.createVolume({ name: 'another', group: 'blocks', sizeBytes });
  await pollUntil('it is there at the primary', () => namesAt(a).includes('another'));
  await a.write('2');
  await a.site.switchover('blocks');
  await b.until('is primary', ({ role }) => role === 'primary');
  const [group] = b.site.groups.all;
  const read = b.read();
  const waits = (): boolean => group?.view.takesReads === true && group.desk.heldRequests > 0;
  await pollUntil('the read waits', waits);
  t.equal(group?.mayRead(), false);
  // It is the group's only volume as yet: removed with the group, the other one would be lost.
  await t.rejects(b.site.deleteVolume('blocks'), { code: 'ERR_VOLUMES_CHANGE' });
  b.disk.release();
  t.equal(await read, '2');
  await made;
  t.same(namesAt(b), ['another', 'blocks']);
});

t.test('what a reign did not get to is not done in a later one', async (t) => {
  const { a, b } = await spoiledPair(t);
  await a.site.createVolume({ name: 'another', group: 'blocks', sizeBytes });
  const [group] = a.site.groups.all;
  a.disk.stall('append-log');
  const written = a.write('1');
  await pollUntil('the log is busy', () => (group?.inFlightBytes ?? 0) > 0);
  const removed = a.site.deleteVolume('another').then(...toldOf);
  await pollUntil('the removal waits for it', () => group?.appender.hasOwnRecords === true);
  const handedOver = a.site.switchover('blocks');
  a.disk.release();
  await Promise.all([written, handedOver]);
  t.equal(await removed, 'ERR_NOT_SERVING');
  await b.until('in sync', ({ inSync, serves }) => inSync && serves);
  await a.site.switchover('blocks');
  await a.write('2');
  for (const site of [a, b]) t.same(namesAt(site), ['another', 'blocks']);
});

t.test('a volume that is too large for a file system is refused, and ends no site', async (t) => {
  const { a, b } = await spoiledPair(t);
  for (const disk of [a.disk, b.disk]) {
    disk.fail('resize-data', 'EFBIG');
    const refused = { code: 'ERR_VOLUME_SIZE', message: /takes no file of 1048576 bytes: .*EFBIG/ };
    for (const { site } of [a, b]) {
      await t.rejects(site.createVolume({ name: 'huge', sizeBytes }), refused);
      await t.rejects(site.createVolume({ name: 'huge', group: 'blocks', sizeBytes }), refused);
      await t.rejects(site.resizeVolume('blocks', 9 * sizeBytes), {
        code: 'ERR_VOLUME_SIZE',
      });
    }
    disk.mend();
  }
  await a.write('1');
  for (const site of [a, b]) {
    t.equal(site.site.failure, undefined);
    t.same(namesAt(site), ['blocks']);
  }
});

t.test('a removal that is not decided in time lets nothing in that it would remove', async (t) => {
  const { a, b } = await spoiledPair(t);
  const [group] = a.site.groups.all;
  if (group === undefined) throw new Error('there is a group');
  const { register } = group;
  const swap = register.swap.bind(register);
  let decide = (): void => undefined;
  const mayDecide = new Promise<void>((resolve) => {
    decide = resolve;
  });
  let asked = false;
  // As an etcd that takes the question and answers much later.
  register.swap = async (expected, next) => {
    asked = true;
    await mayDecide;
    return await swap(expected, next);
  };
  const removed = a.site.deleteVolume('blocks').then(...toldOf);
  await pollUntil('it is asked for', () => asked);
  for (const { site } of [a, b]) {
    const made = site.createVolume({ name: 'another', group: 'blocks', sizeBytes });
    await t.rejects(made, { code: 'ERR_CONFIG_CHANGED' });
  }
  t.equal(a.site.groups.find('blocks'), undefined, 'no client is attached any more');
  decide();
  t.equal(await removed, 'removed');
  t.same([...namesAt(a), ...namesAt(b)], []);
});

t.test('a volume is made when a full disk has room again', async (t) => {
  const { a, b } = await spoiledPair(t);
  b.disk.fail('write-checksums', 'ENOSPC');
  const made = a.site.createVolume({ name: 'another', group: 'blocks', sizeBytes });
  await pollUntil('it says what it waits for', () => b.events().includes('disk-full: '));
  b.disk.mend();
  await made;
  t.same(namesAt(b), ['another', 'blocks']);
  t.equal(b.site.failure, undefined);
});
