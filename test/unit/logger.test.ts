/** Log lines that can't be written: the daemon goes on, and what it writes elsewhere is there. */

import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import t from 'tap';

const loggerUrl = new URL('../../daemon/logger.js', import.meta.url).href;
const script = `
  const { createLogger } = await import(${JSON.stringify(loggerUrl)});
  const logger = createLogger({ level: 'info', site: 'lux-1' });
  for (let line = 0; line < 30_000; line += 1) logger.info({ line }, 'one more line of the log');
  process.stderr.write(process.memoryUsage().rss < 300 * 2 ** 20 ? 'goes on' : 'has kept it all');
`;

t.test('a log on a full disk ends nobody, and is not kept in memory without limit', async (t) => {
  const full = openSync('/dev/full', 'w');
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', script],
    { stdio: ['ignore', full, 'pipe'], encoding: 'utf8' },
  );
  closeSync(full);
  t.equal(stderr, 'goes on');
  t.equal(status, 0);
});
