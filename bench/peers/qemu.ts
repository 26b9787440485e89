/**
 * Two-site mirrors of QEMU, as a front process of `qemu-storage-daemon` that clients connect to:
 *
 * - `quorum` over two NBD servers (`qemu-nbd`), one for each site: every write goes to both and
 *   both have to succeed (vote-threshold 2); reads go to the first (read-pattern fifo, which is the
 *   faster one).
 * - `blockdev-mirror` with copy-mode write-blocking: the front writes its own image and, before it
 *   answers, the other site's through NBD.
 *
 * Each in two durabilities (the images' cache mode on both sites) and over two links between the
 * processes: Unix sockets and TCP. QEMU's NBD client does small sends on TCP without TCP_NODELAY in
 * some releases, so the better link is what counts.
 */
import { join } from 'node:path';
import { freePorts } from '../../test/support/pair.ts';
import { pollUntil } from '../../test/support/poll.ts';
import { ServerProcess, stopAll } from '../processes.ts';
import { durabilities, type Target, type TargetContext, type TargetKind } from '../target.ts';
import { imagesDiffer, makeZeroFile } from './raw-file.ts';

export interface Variant {
  readonly cache: 'directsync' | 'writeback';
  readonly link: 'unix' | 'tcp';
}

const variants: readonly Variant[] = [
  { cache: 'directsync', link: 'unix' },
  { cache: 'writeback', link: 'unix' },
  { cache: 'directsync', link: 'tcp' },
  { cache: 'writeback', link: 'tcp' },
];

const needs = [
  { command: 'qemu-nbd', debianPackage: 'qemu-utils' },
  { command: 'qemu-storage-daemon', debianPackage: 'qemu-system-common' },
];

export const quorumName = ({ cache, link }: Variant): string => `QEMU quorum, ${cache}, ${link}`;
export const mirrorName = ({ cache, link }: Variant): string => `QEMU mirror, ${cache}, ${link}`;

export const quorumKinds: readonly TargetKind[] = variants.map((variant) => ({
  name: quorumName(variant),
  needs,
  start: (context) => startFront(quorumName(variant), variant, context, startQuorum),
}));

export const mirrorKinds: readonly TargetKind[] = variants.map((variant) => ({
  name: mirrorName(variant),
  needs,
  start: (context) => startFront(mirrorName(variant), variant, context, startMirror),
}));

interface Front {
  readonly variant: Variant;
  readonly images: readonly [string, string];
  readonly directory: string;
  readonly frontSocketPath: string;
  /** Servers in the order in which they have to be ended; whatever is started is put here. */
  readonly servers: ServerProcess[];
}

async function startFront(
  name: string,
  variant: Variant,
  { directory, volumeBytes }: TargetContext,
  start: (front: Front) => Promise<void>,
): Promise<Target> {
  const images = [join(directory, 'lux-1.raw'), join(directory, 'lux-2.raw')] as const;
  for (const image of images) makeZeroFile(image, volumeBytes);
  const front: Front = {
    variant,
    images,
    directory,
    frontSocketPath: join(directory, 'front.sock'),
    servers: [],
  };
  const stop = (): Promise<void> => stopAll(front.servers);
  try {
    await start(front);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name,
    copies: 2,
    durability: variant.cache === 'directsync' ? durabilities.everyCopy : durabilities.pageCache,
    uri: `nbd+unix:///disk?socket=${front.frontSocketPath}`,
    processes: () =>
      front.servers.map(({ pid }, index) => ({
        role: index === 0 ? 'front' : `site ${index}`,
        pid,
      })),
    finish: async () => {
      await stop();
      return imagesDiffer(...images);
    },
    stop,
  };
}

/** One site's NBD server; gives the block node that reaches it. */
async function startSite(front: Front, index: 0 | 1): Promise<string> {
  const { variant, directory } = front;
  const image = front.images[index];
  const common = [
    '--format=raw',
    `--cache=${variant.cache}`,
    '--persistent',
    '--shared=4',
    '--export-name=disk',
    '--discard=unmap',
  ];
  const node = `driver=nbd,node-name=site${index},export=disk`;
  if (variant.link === 'unix') {
    const path = join(directory, `site-${index}.sock`);
    const server = new ServerProcess('qemu-nbd', [...common, `--socket=${path}`, image]);
    front.servers.push(server);
    await server.listens({ path });
    return `${node},server.type=unix,server.path=${path}`;
  }
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('no free port');
  const server = new ServerProcess('qemu-nbd', [
    ...common,
    '--bind=127.0.0.1',
    `--port=${port}`,
    image,
  ]);
  front.servers.push(server);
  await server.listens({ host: '127.0.0.1', port });
  return `${node},server.type=inet,server.host=127.0.0.1,server.port=${port}`;
}

const exportParameters = (front: Front, node: string, writeThrough: boolean): string[] => [
  '--nbd-server',
  `addr.type=unix,addr.path=${front.frontSocketPath}`,
  '--export',
  `type=nbd,id=export,node-name=${node},name=disk,writable=on,writethrough=${writeThrough ? 'on' : 'off'}`,
];

async function startQuorum(front: Front): Promise<void> {
  const children = [await startSite(front, 0), await startSite(front, 1)];
  const server = new ServerProcess('qemu-storage-daemon', [
    ...children.flatMap((child) => ['--blockdev', child]),
    '--blockdev',
    'driver=quorum,node-name=quorum,children.0=site0,children.1=site1,vote-threshold=2,read-pattern=fifo',
    ...exportParameters(front, 'quorum', false),
  ]);
  front.servers.unshift(server);
  await server.listens({ path: front.frontSocketPath });
}

async function startMirror(front: Front): Promise<void> {
  const remote = await startSite(front, 1);
  const direct = front.variant.cache === 'directsync';
  const server = new ServerProcess('qemu-storage-daemon', [
    '--chardev',
    'stdio,id=monitor',
    '--monitor',
    'chardev=monitor',
    '--blockdev',
    // With the export's `writethrough` this is what the cache mode `directsync` means.
    `driver=file,node-name=file,filename=${front.images[0]},cache.direct=${direct ? 'on' : 'off'}`,
    '--blockdev',
    'driver=raw,node-name=local,file=file',
    '--blockdev',
    remote,
    ...exportParameters(front, 'local', direct),
  ]);
  front.servers.unshift(server);
  await server.listens({ path: front.frontSocketPath });
  server.send('{"execute":"qmp_capabilities"}');
  const mirror = {
    'job-id': 'mirror',
    device: 'local',
    target: 'site1',
    sync: 'full',
    'copy-mode': 'write-blocking',
    'filter-node-name': 'filter',
  };
  server.send(JSON.stringify({ execute: 'blockdev-mirror', arguments: mirror }));
  await pollUntil('the QEMU mirror is ready', () => {
    server.check();
    if (server.output.includes('"error"')) throw new Error(`QEMU refuses: ${server.output}`);
    return server.output.includes('BLOCK_JOB_READY');
  });
}
