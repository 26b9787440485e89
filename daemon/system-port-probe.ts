/**
 * Looks at addresses without leaving anything behind: whether one could be listened on now, whether
 * a host name means something, who has a port already.
 */
import { lookup } from 'node:dns/promises';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Address } from './config/address.ts';

/** A process, by its name and number. */
export interface Holder {
  readonly name: string;
  readonly processId: number;
}

export type PortFacts =
  | { readonly kind: 'free' }
  /** By whom, where this user may see it. */
  | { readonly kind: 'taken'; readonly holder: Holder | undefined }
  | { readonly kind: 'refused'; readonly code: string };

/** Listens for a moment, if it can: a port can't be asked about in another way. */
export function tryPort({ host, port }: Address): Promise<PortFacts> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve({ kind: 'taken', holder: holderOf(port) });
      else resolve({ kind: 'refused', code: error.code ?? error.message });
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => resolve({ kind: 'free' }));
    });
  });
}

/** The process that listens on a port; undefined if there is none, or this user may not see it. */
export function holderOf(port: number): Holder | undefined {
  const hexadecimal = port.toString(16).toUpperCase().padStart(4, '0');
  const listening = '0A';
  const inodes = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) =>
    readOr(table)
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[1]?.endsWith(`:${hexadecimal}`) && fields[3] === listening)
      .map((fields) => `socket:[${fields[9]}]`),
  );
  const processes = namesIn('/proc').filter((name) => /^\d+$/.test(name));
  const holder = processes.find((id) =>
    namesIn(`/proc/${id}/fd`).some((descriptor) => {
      return inodes.includes(linkOr(`/proc/${id}/fd/${descriptor}`));
    }),
  );
  if (holder === undefined) return undefined;
  return { name: readOr(`/proc/${holder}/comm`).trim(), processId: Number(holder) };
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function linkOr(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Whether somebody serves a Unix socket. */
export function isServedSocket(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'));
  });
}

/** Addresses of a host; undefined if there is no such name. */
export async function addressesOf(host: string): Promise<readonly string[] | undefined> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    return undefined;
  }
}
