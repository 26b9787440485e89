/**
 * The directory of an authority: its certificate and key, and those it has issued, each as NAME.pem
 * and NAME.key. It belongs on a machine without a network, or on a stick in a safe; each host gets
 * its own certificate and key and `authority.pem`, never `authority.key`.
 */
import { X509Certificate } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CasemateError } from '../errors.ts';
import type { Credentials } from '../pki/authority.ts';
import {
  type CertificateName,
  certificateHosts,
  certificateNames,
} from '../pki/certificate-name.ts';

export const authorityName = 'authority';

/** One certificate of the directory, as `pki show` lists it. */
export interface ListedCertificate {
  readonly file: string;
  readonly names: readonly CertificateName[];
  readonly hosts: readonly string[];
  readonly expiresAtMs: number;
}

export const certificatePath = (directory: string, name: string): string =>
  join(directory, `${name}.pem`);
export const keyPath = (directory: string, name: string): string => join(directory, `${name}.key`);

/** Makes the directory of a new authority. @throws CasemateError ERR_PKI if there is one already */
export function startDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!existsSync(keyPath(directory, authorityName))) return;
  throw new CasemateError('ERR_PKI', `${directory} has an authority already`, {
    hint: 'Use another --dir: everything it has issued depends on it.',
  });
}

/** Writes both files whole or not at all; only their owner can read the key. */
export function writeCredentials(directory: string, name: string, made: Credentials): void {
  writeWhole(keyPath(directory, name), made.key, 0o600);
  writeWhole(certificatePath(directory, name), made.certificate, 0o644);
}

function writeWhole(path: string, text: string, mode: number): void {
  const unfinished = `${path}.new`;
  writeFileSync(unfinished, text, { mode });
  chmodSync(unfinished, mode);
  renameSync(unfinished, path);
}

/** @throws CasemateError ERR_PKI if the directory has no such certificate and key */
export function readCredentials(directory: string, name: string): Credentials {
  return {
    certificate: read(certificatePath(directory, name)),
    key: read(keyPath(directory, name)),
  };
}

/** @throws CasemateError ERR_PKI if there is no such certificate */
export function readCertificate(path: string): X509Certificate {
  const text = read(path);
  try {
    return new X509Certificate(text);
  } catch (cause) {
    throw new CasemateError('ERR_PKI', `${path} is no certificate`, { cause });
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CasemateError('ERR_PKI', `can't read ${path}: ${why}`, {
      hint: '`casemate pki init` makes an authority, `pki issue` certificates, `pki show` lists.',
      cause,
    });
  }
}

/** Every certificate of the directory, the authority's first. */
export function listCertificates(directory: string): ListedCertificate[] {
  const files = existsSync(directory) ? readdirSync(directory) : [];
  const first = (file: string): number => (file === `${authorityName}.pem` ? 0 : 1);
  return files
    .filter((file) => file.endsWith('.pem'))
    .sort((left, right) => first(left) - first(right) || left.localeCompare(right))
    .map((file) => describe(file, readCertificate(join(directory, file))));
}

function describe(file: string, certificate: X509Certificate): ListedCertificate {
  return {
    file,
    names: certificateNames(certificate),
    hosts: certificateHosts(certificate),
    expiresAtMs: Date.parse(certificate.validTo),
  };
}
