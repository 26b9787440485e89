/**
 * Two sites in this process, with real sockets, stores and logs, whose disks and clocks a test can
 * spoil through the ports (`daemon/site-ports.ts`). Clients are requests handed to a volume.
 */
import { join } from 'node:path';
import type { Test } from 'tap';
import { parseConfig } from '../../daemon/config/parse.ts';
import { createLogger } from '../../daemon/logger.ts';
import { type BlockRequest, blockError } from '../../daemon/nbd/block-device.ts';
import { Site } from '../../daemon/site.ts';
import { systemPorts } from '../../daemon/site-ports.ts';
import type { GroupStatus } from '../../daemon/site-status.ts';
import { FaultyDisk } from './faulty-disk.ts';
import { freePorts } from './pair.ts';
import { pollUntil } from './poll.ts';
import { scratchDirectory } from './scratch-directory.ts';

/** A site with what a test can do to it. */
export class SpoiledSite {
  readonly disk = new FaultyDisk();
  readonly #options: { readonly directory: string; readonly config: string };
  #site: Site | undefined;
  /** Added to the clock: how far the event loop lags behind the world. */
  lateMs = 0;

  constructor(options: { readonly directory: string; readonly config: string }) {
    this.#options = options;
  }

  get site(): Site {
    if (this.#site === undefined) throw new Error('the site is not open');
    return this.#site;
  }

  async start(): Promise<void> {
    const config = parseConfig(this.#options.config);
    const ports = systemPorts();
    const { clock } = ports;
    this.#site = await Site.open({
      config,
      logger: createLogger({ level: 'silent', site: config.site }),
      bug: (error) => {
        throw error;
      },
      volumeGone: () => undefined,
      ports: {
        ...ports,
        disk: this.disk,
        clock: {
          nowMs: () => clock.nowMs() + this.lateMs,
          setTimer: (delayMs, fire) => clock.setTimer(delayMs, fire),
        },
      },
    });
    await this.#site.start();
  }

  async stop(): Promise<void> {
    this.disk.release();
    await this.#site?.close();
    this.#site = undefined;
  }

  async group(): Promise<GroupStatus> {
    const [group] = (await this.site.status()).groups;
    if (group === undefined) throw new Error('the site has no group');
    return group;
  }

  /** Waits until the only group is as the test wants it. */
  async until(what: string, condition: (group: GroupStatus) => boolean): Promise<GroupStatus> {
    let last: GroupStatus | undefined;
    const reached = async (): Promise<boolean> => {
      [last] = (await this.site.status()).groups;
      return last !== undefined && condition(last);
    };
    try {
      await pollUntil(what, reached);
    } catch (cause) {
      throw new Error(`never ${what}: ${JSON.stringify(last, null, 2)}`, { cause });
    }
    if (last === undefined) throw new Error('no state seen');
    return last;
  }

  /** The newest events, as text. */
  events(): string {
    return this.site
      .events({ limit: 100 })
      .map(({ code, text }) => `${code}: ${text}`)
      .join('\n');
  }

  /** Hands a request to the volume; resolves with its NBD error when it is answered. */
  request(fields: Partial<BlockRequest> & Pick<BlockRequest, 'command'>): Promise<number> {
    const device = this.site.groups.find('blocks');
    if (device === undefined) throw new Error('the site has no volume');
    return new Promise((resolve) => {
      device.submit({
        offsetBytes: 0,
        lengthBytes: 4096,
        payload: [],
        noHole: false,
        target: Buffer.alloc(0),
        extents: [],
        connected: true,
        receivedAtMs: this.site.clock.nowMs(),
        ...fields,
        complete: resolve,
      });
    });
  }

  /** Writes a block of this content; throws if it is answered with an error. */
  async write(content: string, block = 0): Promise<void> {
    const payload = [Buffer.alloc(4096, content)];
    const error = await this.request({ command: 'write', offsetBytes: block * 4096, payload });
    if (error !== blockError.none) throw new Error(`the write was answered with error ${error}`);
  }

  /** The first character of a block. */
  async read(block = 0): Promise<string> {
    const target = Buffer.alloc(4096);
    const error = await this.request({ command: 'read', offsetBytes: block * 4096, target });
    if (error !== blockError.none) throw new Error(`the read was answered with error ${error}`);
    return target.toString('utf8', 0, 1);
  }
}

export interface SitePairOptions {
  /** More lines of a table of both configurations. */
  readonly tables?: Readonly<Record<string, readonly string[]>>;
  readonly onPeerLoss?: 'suspend' | 'preferred';
}

/** A pair with one volume, "blocks" of 8 MiB, in sync; it is stopped at the end of the test. */
export async function spoiledPair(
  t: Test,
  options: SitePairOptions = {},
): Promise<{ readonly a: SpoiledSite; readonly b: SpoiledSite }> {
  const directory = scratchDirectory(t);
  const [portA, portB, apiA, apiB] = await freePorts(4);
  const make = (name: string, port: unknown, api: unknown, peer: string, peerPort: unknown) => {
    const tables: Record<string, readonly string[]> = {
      peer: [`site = "${peer}"`, `address = "127.0.0.1:${peerPort}"`],
      nbd: [`unix = "${join(directory, name, 'nbd.sock')}"`],
      api: [`listen = "127.0.0.1:${api}"`],
      ...options.tables,
      replication: [
        `listen = "127.0.0.1:${port}"`,
        'inFlightBytesMax = "4MiB"',
        ...(options.tables?.replication ?? []),
      ],
      volumes: ['applyBacklogBytesMax = "4MiB"', 'memoryBytesMax = "64MiB"'],
      log: [
        'sizeBytes = "64MiB"',
        'segmentBytes = "16MiB"',
        'checkpointBytes = "8MiB"',
        'commitBytesMax = "1MiB"',
        ...(options.tables?.log ?? []),
      ],
    };
    const body = Object.entries(tables).map(([table, lines]) => `[${table}]\n${lines.join('\n')}`);
    const head = [
      'cluster = "test"',
      `site = "${name}"`,
      `dataDirectory = "${join(directory, name, 'data')}"`,
    ];
    return new SpoiledSite({ directory, config: [...head, ...body].join('\n') });
  };
  const a = make('lux-1', portA, apiA, 'lux-2', portB);
  const b = make('lux-2', portB, apiB, 'lux-1', portA);
  t.teardown(async () => {
    await Promise.all([a.stop(), b.stop()]);
  });
  await Promise.all([a.start(), b.start()]);
  await pollUntil('the sites are connected', () => a.site.peer.connected && b.site.peer.connected);
  const { onPeerLoss } = options;
  await a.site.createVolume({
    name: 'blocks',
    sizeBytes: 8 * 1024 * 1024,
    ...(onPeerLoss === undefined ? {} : { onPeerLoss }),
  });
  for (const site of [a, b]) await site.until('in sync', ({ serves, inSync }) => serves && inSync);
  return { a, b };
}
