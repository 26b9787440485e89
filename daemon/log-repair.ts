/**
 * Damage in the middle of this site's log, mended before anything is opened (R30): the frames that
 * are missing are asked for at the peer, proven by the digests around them, and written where they
 * were. Two sites that are both damaged, at different places, mend each other. What the peer does
 * not have stays damaged, and goes the long way: see `volume/open-group.ts`.
 *
 * Nothing else of the site runs meanwhile, so it has a link of its own, without sessions.
 */
import { LinkCallError } from '../replication/link/errors.ts';
import { defaultLinkLimits } from '../replication/link/limits.ts';
import { PeerLink, type PeerLinkHandler } from '../replication/link/peer-link.ts';
import type { Frame, GroupId } from '../wal/frame.ts';
import { decodeFrame, FrameFormatError } from '../wal/frame-format.ts';
import type { Log } from '../wal/log.ts';
import { follows, type LogGap, type LogSurvey, type MissingRun } from '../wal/log-survey.ts';
import type { LogRecovery } from '../wal/log-types.ts';
import type { Config } from './config/schema.ts';
import { CasemateError } from './errors.ts';
import type { Logger } from './logger.ts';
import { checked, frameUnavailable, type PeerCallResult, peerCalls } from './peer-calls.ts';
import { siteIdentity } from './site-identity.ts';
import { delayOn, type SitePorts } from './site-ports.ts';
import type { SiteStore } from './store/site-store.ts';

/** One answer may take so long. */
const frameMsMax = 5000;
/** How often a peer that can't be reached, or is not ready, is asked again. */
const tryAgainMs = 200;

export interface LogRepairOptions {
  readonly config: Config;
  readonly store: SiteStore;
  readonly ports: SitePorts;
  readonly logger: Logger;
  readonly log: Log;
  readonly recovery: LogRecovery;
}

/**
 * Puts back what it can, for at most `connectMs` after the peer's last answer. True if the log was
 * changed: it has to be opened anew.
 */
export async function repairLog(options: LogRepairOptions): Promise<boolean> {
  const { store, log, recovery } = options;
  if (recovery.report.damagedGroups.length === 0 || recovery.report.lostRanges.length === 0) {
    return false;
  }
  const survey = await log.survey(store.storeId, store.logMarks());
  if (survey.gaps.length === 0) return false;
  return await new LogRepair(options, survey).run();
}

/** Answers the peer's repair from a log that is in use; throws CasemateError if it can't. */
export async function logFrameOf(
  log: Pick<Log, 'readFrames'>,
  groupId: GroupId,
  after: number,
): Promise<PeerCallResult<'logFrame'>> {
  try {
    const [frame] = await log.readFrames(groupId, after, 1);
    if (frame !== undefined) return { frame: Buffer.concat(frame.bytes) };
  } catch (cause) {
    throw unavailable(groupId, after, cause);
  }
  throw unavailable(groupId, after, undefined);
}

function unavailable(groupId: GroupId, after: number, cause: unknown): CasemateError {
  const text = `this log does not have the frame after record ${after} of group ${groupId}`;
  return new CasemateError(frameUnavailable, text, { cause });
}

class LogRepair {
  readonly #options: LogRepairOptions;
  readonly #survey: LogSurvey;
  readonly #link: PeerLink;
  readonly #delay: (ms: number) => Promise<void>;
  #giveUpAtMs = 0;

  constructor(options: LogRepairOptions, survey: LogSurvey) {
    const { config, store, ports } = options;
    this.#options = options;
    this.#survey = survey;
    this.#delay = delayOn(ports.clock);
    const { storeId } = store;
    this.#link = new PeerLink({
      network: ports.network,
      clock: ports.clock,
      random: ports.random,
      handler: this.#handler(),
      own: siteIdentity(config, storeId, ports.randomId()),
      peer: { siteName: config.peer.site, address: config.peer.address },
      listen: config.replication.listen,
      acceptsPeerStore: (peer) => (peer === storeId ? 'it is a copy of this store' : undefined),
      limits: {
        ...defaultLinkLimits,
        linkQueueBytesMax: config.replication.linkQueueBytesMax,
      },
    });
  }

  async run(): Promise<boolean> {
    const { gaps } = this.#survey;
    const { config } = this.#options;
    const places = gaps.length === 1 ? 'a place' : `${gaps.length} places`;
    this.#tell('warn', `${places} of the log are damaged: asking ${config.peer.site} for the rest`);
    this.#postpone();
    let filled = 0;
    await this.#link.start();
    try {
      for (const gap of gaps) if (await this.#mend(gap)) filled += 1;
    } finally {
      await this.#link.close();
    }
    if (filled > 0) {
      this.#tell('warn', `${filled} of ${gaps.length} damaged places of the log were filled again`);
    }
    return filled > 0;
  }

  async #mend(gap: LogGap): Promise<boolean> {
    const where = `the log from position ${gap.fromLsn} to ${gap.toLsn}`;
    const frames: Frame[] = [];
    try {
      for (const run of gap.missing) frames.push(...(await this.#fetch(run)));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#tell('error', `${where} stays damaged: ${why}`);
      return false;
    }
    if (await this.#survey.fill(gap, frames)) return true;
    this.#tell('error', `${where} stays damaged: it held more than the records that are missing`);
    return false;
  }

  /** All frames of a run, proven by their digests. */
  async #fetch(run: MissingRun): Promise<Frame[]> {
    const frames: Frame[] = [];
    let point = run.after;
    while (point.sequence < run.until.sequence) {
      const frame = await this.#ask(run.groupId, point.sequence);
      const next = follows(run, point, frame);
      if (next === undefined)
        throw new Error(`the peer has another history after ${point.sequence}`);
      frames.push(frame);
      point = next;
    }
    if (point.digest === run.until.digest) return frames;
    throw new Error(`the peer has another history up to ${point.sequence}`);
  }

  async #ask(groupId: GroupId, after: number): Promise<Frame> {
    for (;;) {
      try {
        const answer = await this.#link.call('logFrame', { groupId, after }, frameMsMax);
        this.#postpone();
        const { frame } = checked(peerCalls.logFrame.result, answer, 'the answer to logFrame');
        return decodeFrame([Buffer.from(frame)]);
      } catch (error) {
        // A bad frame is as good as none; whoever is not there yet may come.
        if (error instanceof FrameFormatError || isFinal(error)) throw error;
        if (this.#options.ports.clock.nowMs() > this.#giveUpAtMs) throw error;
        await this.#delay(tryAgainMs);
      }
    }
  }

  #postpone(): void {
    const { ports, config } = this.#options;
    this.#giveUpAtMs = ports.clock.nowMs() + config.replication.connectMs;
  }

  #handler(): PeerLinkHandler {
    const nothing = (): void => undefined;
    return {
      linkUp: nothing,
      linkDown: nothing,
      sessionOpened: nothing,
      sessionClosed: nothing,
      message: nothing,
      frame: nothing,
      forward: nothing,
      forwardReply: nothing,
      call: (method, parameters) => this.#answer(method, parameters),
      bulkCall: (method, parameters) => this.#answer(method, parameters),
    };
  }

  /** The peer may be in the same state, and miss what is good here. */
  async #answer(method: string, parameters: unknown): Promise<unknown> {
    if (method !== 'logFrame') {
      throw new CasemateError('ERR_SITE_STARTING', 'this site mends its log before it starts');
    }
    const asked = checked(peerCalls.logFrame.parameters, parameters, 'the call logFrame');
    const frame = await this.#survey.frameAfter(asked.groupId, asked.after);
    if (frame === undefined) throw unavailable(asked.groupId, asked.after, undefined);
    this.#postpone();
    return { frame: Buffer.concat(frame.bytes) };
  }

  #tell(level: 'warn' | 'error', text: string): void {
    const { logger, store, ports } = this.#options;
    const code = 'log-repair';
    logger[level]({ code }, text);
    store.events.append({ level, code, group: undefined, text, atMs: ports.wallMs() });
  }
}

/** The peer has answered, and would not answer otherwise a moment later. */
function isFinal(error: unknown): boolean {
  return !(error instanceof LinkCallError) || error.fromPeer;
}
