/**
 * What the tests with real NBD clients run against: one function, so that they need not know what
 * serves the volume. Here it is the NBD server on a memory volume, in a process of its own.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface TestSite {
  readonly unixUri: string;
  readonly tcpUri: string;
  readonly exportName: string;
  stop(): Promise<void>;
}

const programPath = fileURLToPath(new URL('./memory-site.js', import.meta.url));

/** Serves a new volume of zeros; resolves when clients can connect. */
export async function startTestSite(options: { readonly sizeBytes: number }): Promise<TestSite> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-site-'));
  const socketPath = join(directory, 'nbd.sock');
  const exportName = 'volume';
  const child = spawn(
    process.execPath,
    [programPath, socketPath, exportName, String(options.sizeBytes)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const port = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (line: Buffer) => resolve(line.toString().trim()));
    child.once('exit', (code) => reject(new Error(`the site ended with code ${code}`)));
  });
  return {
    unixUri: `nbd+unix:///${exportName}?socket=${socketPath}`,
    tcpUri: `nbd://127.0.0.1:${port}/${exportName}`,
    exportName,
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true });
    },
  };
}

/** The ways to reach a site; every client is tried by both. */
export const transports = ['unix', 'tcp'] as const;

/** The URI of a site by one of the transports. */
export function siteUri(site: TestSite, transport: (typeof transports)[number]): string {
  return transport === 'unix' ? site.unixUri : site.tcpUri;
}
