#!/usr/bin/env node
/**
 * The `casemate` command's first file. A CommonJS one, because it has to run before Node.js starts
 * its thread pool, which loading any ES module does: the pool's size is read only then. With the
 * four threads it has by itself, a checkpoint's syncs and the writes to the data files would make
 * the log wait for a thread, which is a wait for every client.
 */
process.env['UV_THREADPOOL_SIZE'] ??= '16';

import('./main.js').catch((error: unknown) => {
  process.stderr.write(`casemate: ${String(error)}\n`);
  process.exitCode = 1;
});
