/** A crash after a removal is kept and before the files are gone: the next start sees to them. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { pollUntil } from '../support/poll.ts';
import { spoiledPair } from '../support/site-pair.ts';

t.test('files of a removed volume and of a removed group do not stay for ever', async (t) => {
  const { a } = await spoiledPair(t, { tables: { log: ['checkpointMs = 100'] } });
  const sizeBytes = 1024 * 1024;
  await a.site.createVolume({ name: 'another', group: 'blocks', sizeBytes });
  await a.site.createVolume({ name: 'alone', sizeBytes });
  const files = join(a.site.config.dataDirectory, 'volumes');
  const paths = ['another', 'alone'].map((name) => {
    const found = [...a.site.groups.volumes()].find(({ volume }) => volume.name === name);
    return join(files, `${found?.group.groupId}-${found?.volume.number}.data`);
  });
  for (const path of paths) t.ok(existsSync(path));
  await a.site.deleteVolume('another');
  await a.site.deleteVolume('alone');
  await pollUntil('their files are gone', () => !paths.some((path) => existsSync(path)));
  await a.stop();
  // As if the site had died just before they went.
  for (const path of paths) writeFileSync(path, 'left');
  await a.start();
  t.notOk(paths.some((path) => existsSync(path)));
  t.match(a.events(), /files-left: .* had been left of a removed volume/);
  t.match(a.events(), /files-left: .* had been left of the removed group; it is in "removed"/);
  await a.until('in sync', ({ serves, inSync }) => serves && inSync);
});
