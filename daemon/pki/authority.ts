/**
 * Makes certificates: an authority of one's own and what it issues to sites, witnesses and clients.
 * Keys are ECDSA on P-256. Nothing here touches files; `cli/pki-files.ts` does. The only file that
 * imports the X.509 library.
 */
import { webcrypto, X509Certificate } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { type CertificateName, formatCertificateName } from './certificate-name.ts';

cryptoProvider.set(webcrypto);

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;
const dayMs = 86_400_000;
/** A certificate is valid from a little before it is made: clocks of hosts differ. */
const clockSlackMs = 3_600_000;

/** A certificate and its private key, as PEM text. */
export interface Credentials {
  readonly certificate: string;
  readonly key: string;
}

export interface Validity {
  readonly nowMs: number;
  readonly days: number;
}

export interface Request extends Validity {
  readonly names: readonly CertificateName[];
  /** DNS names and addresses under which clients reach it. */
  readonly hosts: readonly string[];
}

/** A new authority, which signs for whomever its key is used. */
export async function makeAuthority(name: string, validity: Validity): Promise<Credentials> {
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [name] }],
    ...period(validity),
    keys,
    signingAlgorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await privateKeyText(keys) };
}

/**
 * A new key with a certificate for these names. It ends with the authority's own at the latest,
 * since it would be worth nothing after. Clients' certificates can't be used by a server.
 */
export async function issueCertificate(
  authority: Credentials,
  request: Request,
): Promise<Credentials> {
  const { names, hosts } = request;
  const [first] = names;
  if (first === undefined) throw new TypeError('a certificate is for somebody');
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const issuer = new X509Certificate(authority.certificate);
  const { notBefore, notAfter } = period(request);
  const issuerEnd = new Date(issuer.validTo);
  const serves = names.some(({ role }) => role !== 'client');
  const usages = serves
    ? [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]
    : [ExtendedKeyUsage.clientAuth];
  const signingKey = await importPrivateKey(authority.key);
  const issuerKey = await importPublicKey(issuer);
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension(usages),
    new SubjectAlternativeNameExtension(alternativeNames(names, hosts)),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(issuerKey),
  ];
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [first.name] }],
    issuer: issuer.subject.replaceAll('\n', ', '),
    notBefore,
    notAfter: notAfter < issuerEnd ? notAfter : issuerEnd,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm,
    extensions,
  });
  return { certificate: `${certificate.toString('pem')}\n`, key: await privateKeyText(keys) };
}

function alternativeNames(
  names: readonly CertificateName[],
  hosts: readonly string[],
): JsonGeneralNames {
  return [
    ...names.map((name) => ({ type: 'url' as const, value: formatCertificateName(name) })),
    ...hosts.map((host) =>
      host.includes(':') || /^[0-9.]+$/.test(host)
        ? { type: 'ip' as const, value: host }
        : { type: 'dns' as const, value: host },
    ),
  ];
}

function period({ nowMs, days }: Validity): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: new Date(Math.min(nowMs, nowMs + days * dayMs) - clockSlackMs),
    notAfter: new Date(nowMs + days * dayMs),
  };
}

/** 127 random bits: positive, and never the same twice. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

async function privateKeyText(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const raw = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return `${PemConverter.encode(raw, 'PRIVATE KEY')}\n`;
}

async function importPrivateKey(pem: string): Promise<webcrypto.CryptoKey> {
  const raw = PemConverter.decodeFirst(pem);
  return await webcrypto.subtle.importKey('pkcs8', raw, keyAlgorithm, false, ['sign']);
}

async function importPublicKey(certificate: X509Certificate): Promise<webcrypto.CryptoKey> {
  const raw = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return await webcrypto.subtle.importKey('spki', raw, keyAlgorithm, true, ['verify']);
}
