/**
 * What clients feel when one of the three is killed, or a cable between two of them is cut or falls
 * silent: the longest wait of a request of 4 KiB, the client being at a site that is left. Each as
 * often as there are rounds; fio fails the run if a client ever sees an error, or reads what it has
 * not written last.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Cables } from '../../test/support/cabled-pair.ts';
import type { TestSite } from '../../test/support/pair.ts';
import { type CasematePair, mainVolume } from '../casemate.ts';
import { runFio } from '../fio.ts';
import type { Session } from '../session.ts';
import { largest, median } from '../statistics.ts';

const mebibyte = 2 ** 20;
const volumeBytes = 256 * mebibyte;
/** One run: long enough for the loss, the pause, and going on. */
const runSeconds = 6;
const loseAfterMs = 1500;
const logBytes = 512 * mebibyte;
/** A site that is lost every few seconds would be waited for ever later. */
const rejoinBackoffMsMax = 1000;

interface Loss {
  readonly name: string;
  readonly title: string;
  /** Whose socket the client uses. */
  readonly client: (pair: CasematePair) => TestSite;
  readonly lose: (pair: CasematePair) => unknown;
  /** Brings back what was lost, and puts the roles back. */
  readonly repair: (pair: CasematePair) => Promise<void>;
}

const losses: readonly Loss[] = [
  {
    name: 'takeover-primary',
    title: 'pause when the primary is killed',
    client: ({ sites: [, b] }) => b,
    lose: ({ sites: [a] }) => a.signal('SIGKILL'),
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
    lose: ({ sites: [, b] }) => b.signal('SIGKILL'),
    repair: ({ sites: [, b] }) => b.start(),
  },
  {
    name: 'takeover-witness',
    title: 'pause when the witness is killed',
    client: ({ sites: [a] }) => a,
    lose: ({ pair }) => pair.witness.signal('SIGKILL'),
    repair: async ({ pair }) => {
      await pair.witness.start();
      await pair.connected();
    },
  },
  cableLoss('peer', 'cut', 'pause when the cable between the sites is cut'),
  cableLoss('peer', 'silent', 'pause when the cable between the sites falls silent'),
  cableLoss('a', 'silent', "pause when the primary's cable to the witness falls silent"),
  cableLoss('b', 'silent', "pause when the secondary's cable to the witness falls silent"),
];

function cableLoss(cable: keyof Cables, state: 'cut' | 'silent', title: string): Loss {
  return {
    name: `takeover-cable-${cable}-${state}`,
    title,
    client: ({ sites: [a] }) => a,
    lose: ({ cables }) => cables[cable].become(state),
    repair: async ({ pair, cables }) => {
      cables[cable].become('whole');
      await pair.connected();
    },
  };
}

/** Leaves the pauses (the longest of all rounds) in the results, in seconds. */
export async function measureTakeover(session: Session): Promise<void> {
  const pair = await session.startPair({ logBytes, throughCables: true, rejoinBackoffMsMax });
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

/** The longest that one request of the client waited. */
async function pauseSeconds(session: Session, pair: CasematePair, loss: Loss): Promise<number> {
  const running = runFio({
    uris: [loss.client(pair).unixUri(mainVolume)],
    workload: { pattern: 'randwrite', blockBytes: 4096, depth: 8, verified: true },
    sizeBytes: volumeBytes,
    seconds: runSeconds,
    directory: session.directory,
  });
  running.catch(() => undefined);
  await delay(loseAfterMs);
  await loss.lose(pair);
  const { latency } = await running;
  return latency.maxUs / 1e6;
}
