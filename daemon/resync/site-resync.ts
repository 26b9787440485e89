/**
 * What the resyncs of a site share, in both directions: the connection for bulk and the calls on
 * it, how fast they may go, and how many copy at once.
 */
import { RateControl } from '../../replication/resync/rate-control.ts';
import type { GroupId } from '../../wal/frame.ts';
import { CasemateError } from '../errors.ts';
import { checked } from '../peer-calls.ts';
import type { Group } from '../volume/group.ts';
import { type BulkCall, bulkCalls } from './bulk-calls.ts';
import { ResyncPace } from './resync-pace.ts';
import type { ResyncServices } from './resync-services.ts';
import { answerExtents, answerMap, answerVolumes } from './source.ts';

const bulkMsMax = 30_000;

export interface SiteResyncOptions {
  readonly limits: {
    readonly rateBytesMin: number;
    readonly rateBytesMax: number;
    readonly concurrency: number;
    readonly stageBytesMax: number;
  };
  readonly groups: () => { get(groupId: GroupId): Group | undefined; all: Iterable<Group> };
  readonly nowMs: () => number;
  readonly delay: (ms: number) => Promise<void>;
  readonly bulkCall: (method: string, parameters: unknown, timeoutMs: number) => Promise<unknown>;
}

export class SiteResync implements ResyncServices {
  readonly #options: SiteResyncOptions;
  readonly #rate: RateControl;
  readonly pace: ResyncPace;

  constructor(options: SiteResyncOptions) {
    this.#options = options;
    this.#rate = new RateControl(options.limits);
    const { concurrency } = options.limits;
    this.pace = new ResyncPace({ concurrency, nowMs: options.nowMs, delay: options.delay });
  }

  /** Bytes of all volumes of one group that may be staged beside its data files. */
  get stageBytesMax(): number {
    return this.#options.limits.stageBytesMax;
  }

  /** Asks the other site; throws what it answered, or ERR_PEER_UNREACHABLE. */
  readonly ask: BulkCall = async (method, parameters) => {
    const result = await this.#options.bulkCall(method, parameters, bulkMsMax);
    return checked(bulkCalls[method].result, result, `the answer to ${method}`);
  };

  /** The other site asks. Method and parameters come from outside. */
  async answer(method: string, value: unknown): Promise<unknown> {
    const { groups, delay } = this.#options;
    switch (method) {
      case 'resyncVolumes': {
        const asked = checked(bulkCalls[method].parameters, value, `the call ${method}`);
        return answerVolumes(groups().get(asked.groupId), asked, delay);
      }
      case 'resyncMap': {
        const asked = checked(bulkCalls[method].parameters, value, `the call ${method}`);
        return answerMap(groups().get(asked.groupId), asked);
      }
      case 'resyncExtents': {
        const asked = checked(bulkCalls[method].parameters, value, `the call ${method}`);
        return answerExtents(groups().get(asked.groupId), asked, this.#rateNow());
      }
      default:
        throw new CasemateError('ERR_PEER_CALL', `this site knows no call "${method}"`, {
          hint: 'Both sites have to run the same version of Casemate.',
        });
    }
  }

  /** What clients feel is how long their writes take; the rate follows that. */
  #rateNow(): number {
    let count = 0;
    let sumMs = 0;
    for (const { counters } of this.#options.groups().all) {
      const figures = counters.commitLatency.snapshot();
      count += figures.count;
      sumMs += figures.sumMs;
    }
    this.#rate.observe({ count, sumMs }, this.#options.nowMs());
    return this.#rate.rateBytes;
  }
}
