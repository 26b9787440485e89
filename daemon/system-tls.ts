/**
 * TLS 1.3 with certificates on both ends: what this process shows of itself, and the network port
 * between sites and witness on top of it. Who the other end is comes from its certificate
 * (`pki/certificate-name.ts`) and is checked before a byte of ours is read or answered.
 *
 * No session is resumed: every connection is checked by the certificates of its own time.
 */
import { constants, X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import type { Socket } from 'node:net';
import {
  connect,
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls';
import type { Listener, Network, Stream } from '../replication/link/network.ts';
import { formatAddress } from './config/address.ts';
import { CasemateError } from './errors.ts';
import {
  type CertificateName,
  certificateNames,
  formatCertificateName,
  includesName,
} from './pki/certificate-name.ts';
import { readNamedFile } from './system-files.ts';
import { endpoint, Inlet, SocketStream, socketOptions } from './system-network.ts';

/** Connections that are not through with TLS; one more, and the oldest gives way. */
const handshakesMax = 64;
export const handshakeMsMax = 10_000;

/** The files, as the configuration's table `tls` names them. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

/** When a certificate that this process needs ends. */
export interface CertificateEnd {
  readonly certificate: 'own' | 'authority';
  readonly path: string;
  readonly expiresAtMs: number;
}

interface Loaded {
  readonly options: SecureContextOptions;
  readonly context: SecureContext;
  readonly ends: readonly CertificateEnd[];
}

/** The certificate, key and authority of this process; read again on request. */
export class TlsCredentials {
  readonly #files: TlsFiles;
  readonly #ownNames: readonly CertificateName[];
  readonly #changed = new Set<() => void>();
  #loaded: Loaded;

  /**
   * Reads the files. `ownNames` are all names that the certificate has to have.
   * @throws CasemateError ERR_CONFIG_FILE, ERR_CERTIFICATE
   */
  constructor(files: TlsFiles, ownNames: readonly CertificateName[]) {
    this.#files = files;
    this.#ownNames = ownNames;
    this.#loaded = load(files, ownNames);
  }

  /**
   * Reads the files again, for connections from now on; those that are open live on. When it throws
   * (as the constructor does) everything stays as it was.
   */
  reload(): void {
    this.#loaded = load(this.#files, this.#ownNames);
    for (const tell of this.#changed) tell();
  }

  get context(): SecureContext {
    return this.#loaded.context;
  }

  get options(): SecureContextOptions {
    return this.#loaded.options;
  }

  get ends(): readonly CertificateEnd[] {
    return this.#loaded.ends;
  }

  /** `tell` is called after each reload, until what is returned is called. */
  onReload(tell: () => void): () => void {
    this.#changed.add(tell);
    return () => this.#changed.delete(tell);
  }
}

function unusable(message: string, hint: string, cause?: unknown): CasemateError {
  return new CasemateError('ERR_CERTIFICATE', message, { hint, cause });
}

function load(files: TlsFiles, ownNames: readonly CertificateName[]): Loaded {
  const cert = readNamedFile('tls.certificate', files.certificate);
  const key = readNamedFile('tls.key', files.key);
  const ca = readNamedFile('tls.authority', files.authority);
  if ((statSync(files.key).mode & 0o007) !== 0) {
    const hint = `Run: chmod 0600 ${files.key}`;
    throw unusable(`every user of this machine can use the key ${files.key}`, hint);
  }
  const own = parseCertificates(cert, files.certificate);
  const authorities = parseCertificates(ca, files.authority);
  for (const name of ownNames) {
    if (includesName(certificateNames(own[0]), name)) continue;
    const text = formatCertificateName(name);
    const hint = 'Issue one with `casemate pki issue`, with the names of the configuration.';
    throw unusable(`the certificate ${files.certificate} is not for ${text}`, hint);
  }
  const options: SecureContextOptions = {
    cert,
    key,
    ca,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
  let context: SecureContext;
  try {
    context = createSecureContext(options);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const hint = 'tls.key has to be the key of tls.certificate; both come from one `pki issue`.';
    throw unusable(`${files.key} and ${files.certificate} can't be used: ${why}`, hint, cause);
  }
  const end = (list: readonly X509Certificate[]): number =>
    Math.min(...list.map(({ validTo }) => Date.parse(validTo)));
  return {
    options,
    context,
    ends: [
      { certificate: 'own', path: files.certificate, expiresAtMs: end(own) },
      { certificate: 'authority', path: files.authority, expiresAtMs: end(authorities) },
    ],
  };
}

function parseCertificates(text: string, path: string): [X509Certificate, ...X509Certificate[]] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const [first, ...others] = blocks.map((block) => new X509Certificate(block));
    if (first !== undefined) return [first, ...others];
  } catch (cause) {
    throw unusable(`${path} has a damaged certificate`, 'Issue it again.', cause);
  }
  throw unusable(`${path} has no certificate`, 'It has to be PEM text, as `pki issue` writes it.');
}

/** Who may be at the other end of a connection between sites and witness. */
export interface PeerRules {
  /** Who has to answer at an address that is dialed. */
  dialed(address: string): CertificateName;
  /** Whether whoever has these names may connect. */
  accepts(names: readonly CertificateName[]): boolean;
  /** Somebody was refused. `known`: with a certificate of our authority. */
  refused(remoteAddress: string, why: string, known: boolean): void;
}

/** The network port with TLS: addresses as ever. */
export function tlsNetwork(credentials: TlsCredentials, rules: PeerRules): Network {
  return {
    dial: (address, done) => dial(credentials, rules, address, done),
    listen: (address, onStream) => listen(credentials, rules, address, onStream),
  };
}

function dial(
  credentials: TlsCredentials,
  rules: PeerRules,
  address: string,
  done: (result: Stream | Error) => void,
): () => void {
  const { host, port } = endpoint(address);
  const wanted = rules.dialed(address);
  const socket = connect({
    host,
    port,
    secureContext: credentials.context,
    checkServerIdentity: (_, { raw }) => {
      const names = certificateNames(new X509Certificate(raw));
      if (includesName(names, wanted)) return undefined;
      return new Error(`its certificate is ${listed(names)}, not ${formatCertificateName(wanted)}`);
    },
  });
  socket.setNoDelay(socketOptions.noDelay);
  socket.setKeepAlive(socketOptions.keepAlive, socketOptions.keepAliveInitialDelay);
  const onError = (error: Error): void => done(error);
  socket.once('error', onError);
  socket.once('secureConnect', () => {
    socket.off('error', onError);
    done(secureStream(socket, [wanted]));
  });
  return () => {
    socket.off('error', onError);
    socket.removeAllListeners('secureConnect');
    socket.on('error', () => undefined);
    socket.destroy();
  };
}

function listed(names: readonly CertificateName[]): string {
  return names.length === 0 ? 'not one of Casemate' : names.map(formatCertificateName).join(', ');
}

/** Received bytes come in buffers of the TLS layer's own, so nothing is read into slabs here. */
function secureStream(socket: TLSSocket, names: readonly CertificateName[]): Stream {
  const inlet = new Inlet();
  socket.pause();
  socket.on('data', (chunk: Buffer) => inlet.receive(chunk));
  return new SocketStream(socket, inlet, (cluster, name) =>
    names.some((each) => each.role !== 'client' && each.cluster === cluster && each.name === name),
  );
}

function listen(
  credentials: TlsCredentials,
  rules: PeerRules,
  address: string,
  onStream: (stream: Stream) => void,
): Promise<Listener> {
  const { host, port } = endpoint(address);
  const server = createServer({
    ...credentials.options,
    ...socketOptions,
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: handshakeMsMax,
  });
  limitHandshakes(server);
  server.on('tlsClientError', (error, socket) => {
    rules.refused(remoteOf(socket), error.message, false);
    socket.destroy();
  });
  server.on('secureConnection', (socket) => {
    const certificate = socket.getPeerX509Certificate();
    const names = certificate === undefined ? [] : certificateNames(certificate);
    if (rules.accepts(names)) {
      onStream(secureStream(socket, names));
      return;
    }
    rules.refused(remoteOf(socket), `its certificate is ${listed(names)}`, true);
    socket.on('error', () => undefined);
    socket.destroy();
  });
  const forget = credentials.onReload(() => server.setSecureContext(credentials.options));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, () => {
      server.off('error', reject);
      // Such as running out of descriptors: the connection is lost, the listening goes on.
      server.on('error', () => undefined);
      const bound = server.address();
      const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
      resolve({
        address: formatAddress({ host, port: boundPort }),
        close: () => {
          forget();
          return new Promise((closed) => void server.close(() => closed()));
        },
      });
    });
  });
}

export interface SecureAccepted {
  readonly socket: Socket;
  readonly names: readonly CertificateName[];
}

/**
 * Makes an accepted connection one of TLS, as its server; calls `done` once with the socket to use
 * in its place and the names of the client's certificate, or with why it is not taken.
 */
export function secureAccepted(
  credentials: TlsCredentials,
  accepted: Socket,
  accepts: (names: readonly CertificateName[]) => boolean,
  done: (result: SecureAccepted | Error) => void,
): void {
  // A server of its own, which never listens: it checks the client as those that do, and no other
  // connection's events can be taken for this one's.
  const server = createServer({
    ...credentials.options,
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: handshakeMsMax,
  });
  server.once('tlsClientError', (error) => done(error));
  server.once('secureConnection', (socket) => {
    const certificate = socket.getPeerX509Certificate();
    const names = certificate === undefined ? [] : certificateNames(certificate);
    if (accepts(names)) {
      done({ socket, names });
      return;
    }
    done(new Error(`its certificate is ${listed(names)}`));
  });
  server.emit('connection', accepted);
}

function remoteOf(socket: Socket): string {
  return formatAddress({ host: socket.remoteAddress ?? 'unknown', port: socket.remotePort ?? 0 });
}

/** Strangers who never finish their handshake can't pile up (I9). */
export function limitHandshakes(server: Server): void {
  const pending = new Map<string, Socket>();
  server.on('connection', (socket: Socket) => {
    const key = remoteOf(socket);
    pending.set(key, socket);
    socket.once('close', () => pending.delete(key));
    const [oldest] = pending;
    if (oldest === undefined || pending.size <= handshakesMax) return;
    pending.delete(oldest[0]);
    oldest[1].destroy();
  });
  server.on('secureConnection', (socket) => pending.delete(remoteOf(socket)));
}
