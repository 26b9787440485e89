/**
 * A directory for one test, with a short path: a Unix socket's may have 107 bytes. Removed when the
 * test is done.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** `t` is the test that the directory lives as long as. */
export function scratchDirectory(t: { teardown(callback: () => void): void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
