/**
 * Which daemon a command talks to, by which way, and what it shows of itself there: `--config`,
 * `--api`, or the environment. A configuration has two ways: the Unix socket, which needs no token,
 * and the address of the API, for whoever can't use the socket.
 */
import { statSync } from 'node:fs';
import { isToken } from '../api/tokens.ts';
import { formatAddress, isLoopbackHost, parseAddress } from '../config/address.ts';
import { loadConfig } from '../config/parse.ts';
import { CasemateError } from '../errors.ts';
import type { CertificateName } from '../pki/certificate-name.ts';
import { readNamedFile } from '../system-files.ts';
import { ApiClient } from './api-client.ts';
import type { ApiWay } from './api-exchange.ts';
import { usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

const standardUrl = 'http://127.0.0.1:9617';

export interface DaemonOptions {
  readonly api?: string | undefined;
  readonly config?: string | undefined;
  readonly 'token-file'?: string | undefined;
  readonly ca?: string | undefined;
}

/** What of a configuration, of a site or a witness, says where its API is. */
export interface ApiPlace {
  readonly api: { readonly listen: string; readonly unix: string };
  readonly tls?: { readonly authority: string } | undefined;
}

/**
 * Finds the daemon by --api, --config, the environment or the standard address.
 * @throws CasemateError ERR_USAGE, ERR_CONFIG, ERR_CONFIG_FILE, ERR_TOKEN_FILE
 */
export function findDaemon(options: DaemonOptions, terminal: Terminal): ApiClient {
  const config = options.config === undefined ? undefined : loadConfig(options.config);
  if (options.api === undefined && config !== undefined) {
    const { cluster, site } = config;
    return daemonOf(config, { cluster, role: 'site', name: site }, options, terminal);
  }
  const { CASEMATE_API: given, CASEMATE_CA_FILE: caFile } = terminal.environment;
  const url = options.api ?? (given === undefined || given === '' ? standardUrl : given);
  if (!URL.canParse(url) || !/^https?:/.test(url)) {
    throw usageError(`"${url}" is no URL of an API`, `It looks like ${standardUrl}.`);
  }
  const authority = options.ca ?? config?.tls?.authority ?? caFile;
  const token = readToken(options, terminal);
  const { protocol, hostname } = new URL(url);
  if (token !== undefined && protocol === 'http:' && !isLoopbackHost(bare(hostname))) {
    throw usageError(
      `the token is not sent to ${url}: everybody on the way could read it`,
      'A daemon that listens on a network speaks https.',
    );
  }
  const text = authority === undefined ? undefined : readNamedFile('--ca', authority);
  const target = { kind: 'tcp', url, token, authority: text, identity: undefined } as const;
  return new ApiClient([{ place: url, target }]);
}

/** The daemon of a configuration, whose certificate names it. */
export function daemonOf(
  { api, tls }: ApiPlace,
  identity: CertificateName,
  options: DaemonOptions,
  terminal: Terminal,
): ApiClient {
  const unix: ApiWay = { place: api.unix, target: { kind: 'unix', path: api.unix } };
  const address = parseAddress(api.listen);
  if (address === undefined) throw new Error('the configuration was checked');
  const { host, port } = address;
  const isPlain = isLoopbackHost(host);
  const everywhere = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const url = `${isPlain ? 'http' : 'https'}://${formatAddress({ host: everywhere, port })}`;
  const file = isPlain ? undefined : (options.ca ?? tls?.authority);
  const authority = file === undefined ? undefined : readNamedFile('tls.authority', file);
  const token = readToken(options, terminal);
  const tcp: ApiWay = { place: url, target: { kind: 'tcp', url, token, authority, identity } };
  return new ApiClient([unix, tcp]);
}

/** An IPv6 address in a URL has brackets. */
const bare = (hostname: string): string => hostname.replace(/^\[(.*)\]$/, '$1');

/** The token of whoever types; its text is in no message. */
function readToken(options: DaemonOptions, { environment }: Terminal): string | undefined {
  const { CASEMATE_TOKEN: given = '', CASEMATE_TOKEN_FILE: named = '' } = environment;
  const file = options['token-file'];
  if (file !== undefined) return tokenIn(file, '--token-file');
  if (given !== '') {
    if (isToken(given.trim())) return given.trim();
    const hint = 'A token begins with "casemate_"; `casemate token create` shows one once.';
    throw usageError('what is in CASEMATE_TOKEN is no token', hint);
  }
  return named === '' ? undefined : tokenIn(named, 'CASEMATE_TOKEN_FILE');
}

function tokenIn(path: string, key: string): string {
  const text = readNamedFile(key, path).trim();
  if ((statSync(path).mode & 0o007) !== 0) {
    throw tokenFileError(`every user of this machine can read the token in ${path}`, {
      hint: `Run: chmod 0600 ${path}; if somebody may have read it, make another one.`,
    });
  }
  if (isToken(text)) return text;
  throw tokenFileError(`there is no token in ${path}, or more than one`, {
    hint: 'It has one line, which begins with "casemate_": `casemate token create NAME --out FILE`.',
  });
}

function tokenFileError(message: string, options: { hint: string }): CasemateError {
  return new CasemateError('ERR_TOKEN_FILE', message, options);
}
