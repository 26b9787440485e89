/** Two sites and a witness with a cable in each of the three connections that a test can cut. */
import { join } from 'node:path';
import type { Test } from 'tap';
import { startJournaledWrites } from './journaled-writes.ts';
import { freePorts, type PairOptions, TestPair } from './pair.ts';
import { scratchDirectory } from './scratch-directory.ts';
import { TcpProxy } from './tcp-proxy.ts';

/** Between the sites, and from each site to the witness. */
export interface Cables {
  readonly peer: TcpProxy;
  readonly a: TcpProxy;
  readonly b: TcpProxy;
}

export interface Cabled {
  readonly pair: TestPair;
  readonly cables: Cables;
  readonly directory: string;
}

/** A pair with a witness that is not started yet; who made it closes the cables. */
export async function makeCabled(
  options: Pick<PairOptions, 'directory' | 'tables'>,
): Promise<Omit<Cabled, 'directory'>> {
  const [peerPort = 0, portA = 0, portB = 0] = await freePorts(3);
  const pair = await TestPair.make({
    ...options,
    witness: true,
    via: { a: peerPort },
    witnessVia: { a: portA, b: portB },
  });
  const cables = {
    peer: await TcpProxy.listen(peerPort),
    a: await TcpProxy.listen(portA),
    b: await TcpProxy.listen(portB),
  };
  cables.peer.upstreamPort = pair.ports.b;
  cables.a.upstreamPort = pair.witness.port;
  cables.b.upstreamPort = pair.witness.port;
  return { pair, cables };
}

export async function cabledPair(t: Test): Promise<Cabled> {
  const directory = scratchDirectory(t);
  const { pair, cables } = await makeCabled({ directory });
  t.teardown(async () => {
    await pair.stop();
    for (const cable of Object.values(cables)) await cable.close();
  });
  await pair.start();
  for (const volume of ['blocks', 'other']) {
    await pair.a.cli('volume', 'create', volume, '--size', '32MiB', '--group', 'blocks');
  }
  await pair.guarded('blocks');
  return { pair, cables, directory };
}

/** A client at each site, on volumes of the same group. */
export function writers({ pair, directory }: Cabled, count: number) {
  return [
    { site: pair.a, volume: 'blocks' },
    { site: pair.b, volume: 'other' },
  ].map(({ site, volume }, index) => {
    const journal = join(directory, `journal-${volume}`);
    const uri = site.unixUri(volume);
    return startJournaledWrites({ uri, journal, seed: 80 + index, count, depth: 8 });
  });
}
