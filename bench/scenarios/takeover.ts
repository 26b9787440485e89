/**
 * What clients feel when one of the three is killed: the longest wait of a 4 KiB write while the
 * primary is lost (the client at the other site's socket), the secondary, or the witness. Each as
 * often as there are rounds; fio fails the run if a client ever sees an error.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestSite } from '../../test/support/pair.ts';
import { type CasematePair, mainVolume } from '../casemate.ts';
import { runFio } from '../fio.ts';
import type { Session } from '../session.ts';
import { largest, median } from '../statistics.ts';

const mebibyte = 2 ** 20;
const volumeBytes = 256 * mebibyte;
/** One run: long enough for the kill, the pause, and going on. */
const runSeconds = 6;
const killAfterMs = 1500;
const logBytes = 512 * mebibyte;

interface Loss {
  readonly name: string;
  readonly title: string;
  /** Whose socket the client uses. */
  readonly client: (pair: CasematePair) => TestSite;
  readonly kill: (pair: CasematePair) => Promise<unknown>;
  /** Starts what was killed, and puts the roles back. */
  readonly repair: (pair: CasematePair) => Promise<void>;
}

const losses: readonly Loss[] = [
  {
    name: 'takeover-primary',
    title: 'pause when the primary is killed',
    client: ({ sites: [, b] }) => b,
    kill: ({ sites: [a] }) => a.signal('SIGKILL'),
    repair: async ({ pair, sites: [a, b] }) => {
      await a.start();
      await pair.guarded(mainVolume);
      await b.cli('switchover', mainVolume);
    },
  },
  {
    name: 'takeover-secondary',
    title: 'pause when the secondary is killed',
    client: ({ sites: [a] }) => a,
    kill: ({ sites: [, b] }) => b.signal('SIGKILL'),
    repair: ({ sites: [, b] }) => b.start(),
  },
  {
    name: 'takeover-witness',
    title: 'pause when the witness is killed',
    client: ({ sites: [a] }) => a,
    kill: ({ pair }) => pair.witness.signal('SIGKILL'),
    repair: async ({ pair }) => {
      await pair.witness.start();
      await pair.connected();
    },
  },
];

/** Leaves the three pauses (the longest of all rounds) in the results, in seconds. */
export async function measureTakeover(session: Session): Promise<void> {
  const pair = await session.startPair({ logBytes, witness: true });
  await pair.createVolume({ name: mainVolume, sizeBytes: volumeBytes });
  for (const loss of losses) {
    const pauses: number[] = [];
    for (let round = 1; round <= session.settings.rounds; round += 1) {
      session.progress(`${loss.title}, round ${round} of ${session.settings.rounds}`);
      await pair.pair.guarded(mainVolume);
      pauses.push(await pauseSeconds(session, pair, loss));
      await loss.repair(pair);
    }
    const worst = largest(pauses) ?? 0;
    session.results.setValue(loss.name, {
      title: loss.title,
      unit: 's',
      value: worst,
      note: `the longest of ${pauses.length}; median ${(median(pauses) ?? 0).toFixed(2)} s`,
    });
  }
  await pair.pair.guarded(mainVolume);
  await session.finishPair('takeover', pair);
}

/** The longest that one write of the client waited. */
async function pauseSeconds(session: Session, pair: CasematePair, loss: Loss): Promise<number> {
  const running = runFio({
    uris: [loss.client(pair).unixUri(mainVolume)],
    workload: { pattern: 'randwrite', blockBytes: 4096, depth: 8 },
    sizeBytes: volumeBytes,
    seconds: runSeconds,
    directory: session.directory,
  });
  running.catch(() => undefined);
  await delay(killAfterMs);
  await loss.kill(pair);
  const { latency } = await running;
  return latency.maxUs / 1e6;
}
