/**
 * Casemate as a target: two daemons on loopback, as `test/support/pair.ts` runs them, with the
 * suite's volumes made through the HTTP API of the first site, which is therefore their primary.
 * Clients connect to that site's Unix socket.
 */
import type { GroupStatus } from '../daemon/site-status.ts';
import { type Cables, makeCabled } from '../test/support/cabled-pair.ts';
import { tlsFiles, tlsLines } from '../test/support/certificates.ts';
import { freePorts, TestPair, type TestSite } from '../test/support/pair.ts';
import { pollUntil } from '../test/support/poll.ts';
import { differenceAtRest, isStaging } from '../test/support/same-data.ts';
import { casemateName, casemateTcpName } from './casemate-names.ts';
import type { WatchedProcess } from './costs.ts';
import { type MetricSums, sumMetrics } from './metrics-text.ts';
import { DelayProxy } from './proxy/delay-proxy.ts';
import { durabilities, type Target } from './target.ts';

export const mainVolume = 'bench';

const profileHookUrl = new URL('./profile-hook.js', import.meta.url).href;
const createMs = 60_000;
const scrapeMs = 10_000;
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
  /** The sites reach each other through a proxy that can delay what it passes. */
  readonly throughProxy?: boolean;
  /** With a witness, and a cable that can be cut in each of the three connections. */
  readonly throughCables?: boolean;
  /** Certificates of this authority are used between the sites, and offered to clients. */
  readonly tlsFrom?: string;
  /** Longest pause before a peer that came and went is waited for again. */
  readonly rejoinBackoffMsMax?: number;
}

export interface VolumeOptions {
  readonly name: string;
  readonly sizeBytes: number;
  readonly onPeerLoss?: 'preferred';
}

export class CasematePair {
  readonly pair: TestPair;
  readonly #proxy: DelayProxy | undefined;
  readonly #cables: Cables | undefined;

  private constructor(pair: TestPair, between: { proxy?: DelayProxy; cables?: Cables }) {
    this.pair = pair;
    this.#proxy = between.proxy;
    this.#cables = between.cables;
  }

  /** Both daemons run and are connected; there is no volume yet. */
  static async start(options: CasemateOptions): Promise<CasematePair> {
    const tables = tablesOf(options);
    const { pair, ...between } =
      options.throughCables === true
        ? await makeCabled({ directory: options.directory, tables })
        : await pairOf(options, tables);
    const made = new CasematePair(pair, between);
    try {
      await withProfile(options.profileDirectory, () => pair.start());
    } catch (error) {
      await made.stop();
      throw error;
    }
    return made;
  }

  /** The distance between the sites from now on, for a pair that was started through a proxy. */
  async setRoundTrip(milliseconds: number): Promise<void> {
    if (this.#proxy === undefined) throw new Error('this pair has no proxy between its sites');
    await this.#proxy.setRoundTrip(milliseconds);
  }

  /** The cables of a pair that was started through them. */
  get cables(): Cables {
    if (this.#cables === undefined) throw new Error('this pair has no cables');
    return this.#cables;
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
    await this.pair.inSync(options.name);
  }

  uri(volume: string): string {
    return this.pair.a.unixUri(volume);
  }

  /** The same volume over TCP. */
  tcpUri(volume: string): string {
    return this.pair.a.tcpUri(volume);
  }

  processes(): readonly WatchedProcess[] {
    const [primary, secondary] = this.sites;
    return [
      { role: 'primary', pid: primary.pid },
      { role: 'secondary', pid: secondary.pid },
    ];
  }

  /** The metrics of both daemons, the primary's first. */
  async scrape(): Promise<readonly MetricSums[]> {
    const sums: MetricSums[] = [];
    for (const { apiUrl } of this.sites) {
      const answer = await fetch(`${apiUrl}/metrics`, { signal: AbortSignal.timeout(scrapeMs) });
      if (!answer.ok) throw new Error(`no metrics from ${apiUrl}: ${answer.status}`);
      sums.push(sumMetrics(await answer.text()));
    }
    return sums;
  }

  /** Waits until both sites have applied everything that clients were told is written. */
  async settled(): Promise<void> {
    await pollUntil('both sites have applied everything', async () => {
      const [a, b] = await Promise.all([this.pair.a.status(), this.pair.b.status()]);
      if (this.sites.some(isStaging)) return false;
      return a.groups.every((group) => {
        const other = b.groups.find(({ id }) => id === group.id);
        return other !== undefined && sameAndApplied(group, other);
      });
    });
  }

  /** Waits until both sites have applied everything, ends both, and compares their data files. */
  async finish(): Promise<string | undefined> {
    try {
      await this.settled();
    } finally {
      await this.stop();
    }
    return differenceAtRest(this.pair.a, this.pair.b);
  }

  async stop(): Promise<void> {
    await this.pair.stop();
    await this.#proxy?.stop();
    for (const cable of Object.values(this.#cables ?? {})) await cable.close();
  }

  /** The pair with its main volume as a target of the suite. */
  asTarget(): Target {
    return {
      name: casemateName,
      copies: 2,
      durability: durabilities.everyCopy,
      uri: this.uri(mainVolume),
      processes: () => this.processes(),
      settled: () => this.settled(),
      scrape: () => this.scrape(),
      finish: () => this.finish(),
      stop: () => this.stop(),
    };
  }
}

type Tables = Readonly<Record<string, readonly string[]>>;

function tablesOf(options: CasemateOptions): Tables {
  const { logBytes, checkpoint, rejoinBackoffMsMax, tlsFrom } = options;
  const log = [
    `sizeBytes = ${logBytes}`,
    `segmentBytes = ${Math.max(16 * mebibyte, Math.min(64 * mebibyte, logBytes / 16))}`,
  ];
  if (checkpoint === undefined) {
    log.push(`checkpointBytes = ${Math.min(256 * mebibyte, logBytes / 4)}`);
  } else {
    log.push(`checkpointMs = ${checkpoint.everyMs}`);
    log.push(`checkpointBytes = ${checkpoint.everyBytes}`);
  }
  const volumes = [`memoryBytesMax = ${memoryLimitBytes}`];
  const more = {
    ...(tlsFrom === undefined ? {} : { nbd: ['tls = "offered"'] }),
    ...(rejoinBackoffMsMax === undefined
      ? {}
      : { replication: [`rejoinBackoffMsMax = ${rejoinBackoffMsMax}`] }),
  };
  return { log, volumes, ...more };
}

async function pairOf(
  { directory, witness, throughProxy, tlsFrom }: CasemateOptions,
  tables: Tables,
): Promise<{ pair: TestPair; proxy?: DelayProxy }> {
  const tls =
    tlsFrom === undefined ? {} : { tls: (name: string) => tlsLines(tlsFiles(tlsFrom, name)) };
  const options = { directory, tables, witness: witness === true, ...tls };
  const [viaA, viaB] = throughProxy === true ? await freePorts(2) : [];
  if (viaA === undefined || viaB === undefined) return { pair: await TestPair.make(options) };
  const pair = await TestPair.make({ ...options, via: { a: viaA, b: viaB } });
  const proxy = await DelayProxy.start([
    { listenPort: viaA, targetPort: pair.ports.b },
    { listenPort: viaB, targetPort: pair.ports.a },
  ]);
  return { pair, proxy };
}

function sameAndApplied(a: GroupStatus, b: GroupStatus): boolean {
  const { sequence, digest } = a.end;
  return (
    sequence === b.end.sequence &&
    digest === b.end.digest &&
    a.applied === sequence &&
    b.applied === sequence
  );
}

/** The pair's main volume over TCP, with the Unix socket's target as its owner. */
export function tcpAlias(pair: CasematePair): Target {
  const nothing = async (): Promise<undefined> => undefined;
  return {
    ...pair.asTarget(),
    name: casemateTcpName,
    alias: true,
    uri: pair.tcpUri(mainVolume),
    finish: nothing,
    stop: nothing,
  };
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
