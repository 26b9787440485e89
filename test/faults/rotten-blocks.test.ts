/** Bit rot in the data files of a running pair (R34): healed from the other site, never served. */
import t from 'tap';
import type { TestSite } from '../support/pair.ts';
import { TestPair } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { onlyDataFile, rotFile } from '../support/rot.ts';
import { run } from '../support/run-command.ts';
import { differenceAtRest } from '../support/same-data.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const block = 4096;

function qemuIo(site: TestSite, ...commands: string[]) {
  const uri = site.unixUri('blocks');
  return run('qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), uri]);
}

async function ok(site: TestSite, ...commands: string[]): Promise<void> {
  const { code, stdout, stderr } = await qemuIo(site, ...commands);
  if (code !== 0 || /fail|error/i.test(stdout)) throw new Error(`${stdout}${stderr}`);
}

async function untilEvent(site: TestSite, code: string): Promise<string> {
  let text = '';
  await pollUntil(`${site.name} has the event ${code}`, async () => {
    text = await site.cli('events', '--limit', '20');
    return text.includes(code);
  });
  return text;
}

async function metric(site: TestSite, name: string): Promise<number> {
  const answer = await fetch(`${site.apiUrl}/metrics`);
  const line = (await answer.text()).split('\n').find((each) => each.startsWith(`${name}{`));
  return Number(line?.split(' ').at(-1));
}

t.test('rotten blocks of a running pair', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'blocks', '--size', '16MiB');
  await pair.inSync('blocks');
  await ok(pair.a, 'write -P 7 0 1M');
  await pair.settled('blocks');
  const files = [onlyDataFile(pair.a), onlyDataFile(pair.b)] as const;

  await t.test('a read at the primary heals, through either site', async (t) => {
    rotFile(files[0], 5 * block + 100);
    rotFile(files[0], 6 * block);
    await ok(pair.a, 'read -P 7 0 1M');
    rotFile(files[0], 9 * block + 1);
    await ok(pair.b, 'read -P 7 0 1M');
    t.match(await untilEvent(pair.a, 'block-healed'), /rewritten from the other site/);
    t.equal(await metric(pair.a, 'casemate_volume_healed_blocks_total'), 3);
  });

  await t.test('a part of a rotten block is changed, at either site', async (t) => {
    rotFile(files[0], 20 * block + 3000);
    rotFile(files[1], 21 * block + 3000);
    await ok(pair.a, `write -P 8 ${20 * block} 512`, `write -P 9 ${21 * block} 512`);
    await pair.settled('blocks');
    await ok(pair.a, `read -P 7 ${20 * block + 512} 3584`, `read -P 7 ${21 * block + 512} 3584`);
    t.equal(await metric(pair.b, 'casemate_volume_healed_blocks_total'), 1);
  });

  await t.test(
    'a block that is rotten on both sites is an error, and the site goes on',
    async (t) => {
      for (const file of files) rotFile(file, 40 * block + 7);
      const { stdout, stderr } = await qemuIo(pair.a, `read ${40 * block} 4096`);
      t.match(stdout + stderr, /Input\/output error/);
      await ok(pair.a, `read -P 7 ${41 * block} 4096`, `write -P 3 ${50 * block} 4096`);
      const { volumes, serves } = await pair.a.group('blocks');
      t.equal(serves, true);
      t.same(volumes[0]?.unreadable, [{ offsetBytes: 40 * block, lengthBytes: block }]);
      t.match(await pair.a.cli('why'), /4096 bytes of blocks can't be read .*\(at 163840\)/);
      const status = await pair.a.status();
      t.ok(status.problems.some(({ code }) => code === 'blocks-unreadable'));
      await untilEvent(pair.a, 'block-unreadable');
      await ok(pair.a, `write -P 5 ${40 * block} 4096`, `read -P 5 ${40 * block} 4096`);
      await pair.a.until('blocks', 'has nothing unreadable', ({ volumes: [volume] }) => {
        return volume?.unreadableBytes === 0;
      });
    },
  );

  await t.test('a part of such a block is changed: the block is never read', async (t) => {
    for (const file of files) rotFile(file, 60 * block + 3000);
    await ok(pair.a, `write -P 6 ${60 * block} 512`);
    await pair.settled('blocks');
    const { stdout, stderr } = await qemuIo(pair.a, `read ${60 * block} 4096`);
    t.match(stdout + stderr, /Input\/output error/);
    await ok(pair.a, `write -P 6 ${60 * block} 4096`, `read -P 6 ${60 * block} 4096`);
  });

  await pair.settled('blocks');
  await pair.stop();
  t.equal(differenceAtRest(pair.a, pair.b), undefined);
});
