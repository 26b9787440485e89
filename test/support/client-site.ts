/**
 * What the tests with real NBD clients run against: one function, so that they need not know what
 * serves the volume. It is a real pair: two daemons, a volume that is in sync on both.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestPair } from './pair.ts';

export interface TestSite {
  readonly unixUri: string;
  readonly tcpUri: string;
  readonly exportName: string;
  stop(): Promise<void>;
}

/** Serves a new volume of zeros on a pair; resolves when it is in sync and clients can connect. */
export async function startTestSite(options: { readonly sizeBytes: number }): Promise<TestSite> {
  const directory = mkdtempSync(join(tmpdir(), 'casemate-'));
  const exportName = 'volume';
  const pair = await TestPair.make({ directory });
  await pair.start();
  await pair.a.cli('volume', 'create', exportName, '--size', `${options.sizeBytes}`);
  return {
    unixUri: pair.a.unixUri(exportName),
    tcpUri: pair.a.tcpUri(exportName),
    exportName,
    stop: async () => {
      await pair.stop();
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
