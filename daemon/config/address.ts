/**
 * Network addresses as the configuration writes them: "host:port", IPv6 hosts in brackets; and how
 * long the path of a Unix socket may be.
 */

/**
 * Linux takes no longer path for a socket (108 bytes with the last NUL), and Node.js cuts a longer
 * one off without a word.
 */
export const socketPathBytesMax = 107;

export interface Address {
  /** Name or address; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

const addressPattern =
  /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)):([0-9]{1,5})$/;

/** The form as a regular expression for the schema; `parseAddress` checks the port's range too. */
export const addressForm = addressPattern.source;

/** Host and port of "lux-2.example.org:9618" or "[::1]:9618"; undefined if it is no address. */
export function parseAddress(text: string): Address | undefined {
  const match = addressPattern.exec(text);
  if (match === null) return undefined;
  const host = match[1] ?? match[2];
  const port = Number(match[3]);
  if (host === undefined || port > 65_535) return undefined;
  return { host, port };
}

/** The address in the form that `parseAddress` reads. */
export function formatAddress(address: Address): string {
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

/** Whether only processes of this machine can connect to a server that listens on this host. */
export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || /^127(?:\.[0-9]{1,3}){3}$/.test(name);
}
