/**
 * Casemate as a target: two daemons on loopback, as `test/support/pair.ts` runs them, with the
 * suite's volumes made through the HTTP API of the first site, which is therefore their primary.
 * Clients connect to that site's Unix socket.
 */
import { TestPair, type TestSite } from '../test/support/pair.ts';
import { pollUntil } from '../test/support/poll.ts';
import { differenceAtRest } from '../test/support/same-data.ts';
import { durabilities, type Target } from './target.ts';

export const casemateName = 'Casemate';
export const mainVolume = 'bench';

const profileHookUrl = new URL('./profile-hook.js', import.meta.url).href;
const createMs = 60_000;
const mebibyte = 2 ** 20;

/** The limit of the daemons' memory for requests, which the memory job measures against. */
export const memoryLimitBytes = 256 * mebibyte;

export interface CasemateOptions {
  readonly directory: string;
  readonly logBytes: number;
  /** Until a checkpoint is due; the defaults of the configuration without it. */
  readonly checkpoint?: { readonly everyMs: number; readonly everyBytes: number };
  /** With a third voter, so that either site can be lost. */
  readonly witness?: boolean;
  /** Where the daemons leave a CPU profile each when they end. */
  readonly profileDirectory?: string | undefined;
}

export interface VolumeOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly onPeerLoss?: 'preferred';
}

export class CasematePair {
  readonly pair: TestPair;
  readonly #volumes: string[] = [];

  private constructor(pair: TestPair) {
    this.pair = pair;
  }

  /** Both daemons run and are connected; there is no volume yet. */
  static async start(options: CasemateOptions): Promise<CasematePair> {
    const log = [
      `sizeBytes = ${options.logBytes}`,
      `segmentBytes = ${Math.min(64 * mebibyte, options.logBytes / 16)}`,
    ];
    const { checkpoint } = options;
    if (checkpoint === undefined) {
      log.push(`checkpointBytes = ${Math.min(256 * mebibyte, options.logBytes / 4)}`);
    } else {
      log.push(`checkpointMs = ${checkpoint.everyMs}`);
      log.push(`checkpointBytes = ${checkpoint.everyBytes}`);
    }
    const pair = await TestPair.make({
      directory: options.directory,
      witness: options.witness === true,
      tables: { log, volumes: [`memoryBytesMax = ${memoryLimitBytes}`] },
    });
    const made = new CasematePair(pair);
    try {
      await withProfile(options.profileDirectory, () => pair.start());
    } catch (error) {
      await pair.stop();
      throw error;
    }
    return made;
  }

  get sites(): readonly [TestSite, TestSite] {
    return [this.pair.a, this.pair.b];
  }

  /** Creates the volume and waits until both sites hold it in sync. */
  async createVolume(options: VolumeOptions): Promise<void> {
    const response = await fetch(`${this.pair.a.apiUrl}/v1/volumes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(
        options.onPeerLoss === undefined
          ? options
          : { ...options, preferredSite: this.pair.a.name },
      ),
      signal: AbortSignal.timeout(createMs),
    });
    if (!response.ok) throw new Error(`volume ${options.name}: ${await response.text()}`);
    this.#volumes.push(options.name);
    await this.pair.inSync(options.name);
  }

  uri(volume: string): string {
    return this.pair.a.unixUri(volume);
  }

  processIds(): readonly number[] {
    return this.sites.map(({ pid }) => pid);
  }

  /** Waits until both sites have applied everything, ends both, and compares their data files. */
  async finish(): Promise<string | undefined> {
    try {
      for (const volume of this.#volumes) {
        await pollUntil(`both sites have applied all of ${volume}`, () => this.#applied(volume));
      }
    } finally {
      await this.stop();
    }
    return differenceAtRest(this.pair.a, this.pair.b);
  }

  async #applied(volume: string): Promise<boolean> {
    const [a, b] = [await this.pair.a.group(volume), await this.pair.b.group(volume)];
    const { sequence, digest } = a.end;
    return (
      sequence === b.end.sequence &&
      digest === b.end.digest &&
      a.applied === sequence &&
      b.applied === sequence
    );
  }

  stop(): Promise<void> {
    return this.pair.stop();
  }

  /** The pair with its main volume as a target of the suite. */
  asTarget(): Target {
    return {
      name: casemateName,
      copies: 2,
      durability: durabilities.everyCopy,
      uri: this.uri(mainVolume),
      processIds: () => this.processIds(),
      finish: () => this.finish(),
      stop: () => this.stop(),
    };
  }
}

/** Daemons started meanwhile write a CPU profile into the directory when they end. */
async function withProfile(
  directory: string | undefined,
  start: () => Promise<void>,
): Promise<void> {
  if (directory === undefined) return start();
  const set = {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${profileHookUrl}`.trim(),
    CASEMATE_BENCH_PROFILES: directory,
  };
  const before = Object.keys(set).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, set);
  try {
    await start();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}
