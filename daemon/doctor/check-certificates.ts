/** Certificate, key and authority of `[tls]`: for whom, signed by whom, from when until when. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { isLoopbackHost, parseAddress } from '../config/address.ts';
import { CasemateError } from '../errors.ts';
import {
  certificateHosts,
  certificateNames,
  formatCertificateName,
  includesName,
} from '../pki/certificate-name.ts';
import { wallClockMs } from '../system-clock.ts';
import { readNamedFile } from '../system-files.ts';
import { type Finding, findingsOf } from './finding.ts';
import type { Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('certificates');

const dayMs = 86_400_000;
const daysWarned = 30;

export interface CertificateTexts {
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
}

export function checkCertificates(subject: Subject): Finding[] {
  const { tls } = subject;
  if (tls === undefined) return [];
  try {
    const texts = {
      certificate: readNamedFile('tls.certificate', tls.certificate),
      key: readNamedFile('tls.key', tls.key),
      authority: readNamedFile('tls.authority', tls.authority),
    };
    return judgeCertificates(texts, subject, wallClockMs());
  } catch (reason) {
    if (!(reason instanceof CasemateError)) throw reason;
    return [error(reason.message, reason.hint ?? 'Correct the table [tls].')];
  }
}

/** What is wrong with the texts of the three files. */
export function judgeCertificates(
  texts: CertificateTexts,
  { tls, ownNames, listens }: Pick<Subject, 'tls' | 'ownNames' | 'listens'>,
  nowMs: number,
): Finding[] {
  const path = tls?.certificate ?? 'tls.certificate';
  const own = parse(texts.certificate);
  const authorities = parse(texts.authority);
  const [first] = own;
  if (first === undefined) {
    return [error(`${path} has no certificate`, 'Issue one with `casemate pki issue` (PEM).')];
  }
  const [anyAuthority] = authorities;
  if (anyAuthority === undefined) {
    const text = `${tls?.authority ?? 'tls.authority'} has no certificate of an authority`;
    return [error(text, 'Copy authority.pem from where `casemate pki init` was run.')];
  }
  const signer = authorities.find(
    (each) => first.checkIssued(each) && first.verify(each.publicKey),
  );
  const found = [
    ...nameFindings(first, ownNames, path),
    ...keyFindings(first, texts.key, tls?.key ?? 'tls.key'),
    ...(signer === undefined ? [unsigned(path)] : []),
    ...hostFindings(first, listens, path),
    ...timeFindings(first, path, nowMs, `casemate pki renew ${ownNames[0]?.name ?? 'NAME'}`),
    ...timeFindings(
      signer ?? anyAuthority,
      tls?.authority ?? 'tls.authority',
      nowMs,
      'casemate pki init',
    ),
  ];
  if (found.length > 0) return found;
  const names = ownNames.map(formatCertificateName).join(', ');
  return [ok(`the certificate is for ${names}, its key fits, until ${dayOf(first)}`)];
}

function parse(text: string): X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}

function nameFindings(
  certificate: X509Certificate,
  ownNames: Subject['ownNames'],
  path: string,
): Finding[] {
  const names = certificateNames(certificate);
  return ownNames
    .filter((name) => !includesName(names, name))
    .map((name) => {
      const has = names.length === 0 ? 'nobody here' : names.map(formatCertificateName).join(', ');
      const text = `${path} is for ${has}, not for ${formatCertificateName(name)}`;
      const advice = `casemate pki issue --cluster ${name.cluster} --${name.role} ${name.name}`;
      return error(text, `Issue one with the names of the configuration: ${advice}`);
    });
}

/** Browsers and Prometheus look for the name or address that they were given. */
function hostFindings(
  certificate: X509Certificate,
  listens: Subject['listens'],
  path: string,
): Finding[] {
  const api = listens.find(({ key }) => key === 'api.listen')?.address ?? '';
  const isOpen = !isLoopbackHost(parseAddress(api)?.host ?? 'localhost');
  if (!isOpen || certificateHosts(certificate).length > 0) return [];
  const text = `${path} names no host, so browsers and Prometheus refuse the API at ${api}`;
  return [warning(text, 'Issue it anew with `casemate pki issue … --host NAME-OR-ADDRESS`.')];
}

function keyFindings(certificate: X509Certificate, key: string, path: string): Finding[] {
  try {
    if (certificate.checkPrivateKey(createPrivateKey(key))) return [];
  } catch {
    return [error(`${path} has no private key that can be read`, 'Copy it again (PEM).')];
  }
  const advice = 'Copy both files of one `casemate pki issue` or `pki renew` to this machine.';
  return [error(`${path} is not the key of the certificate`, advice)];
}

function unsigned(path: string): Finding {
  const advice = 'Both have to come from the same `casemate pki init`: copy authority.pem again.';
  return error(`${path} was not issued by the authority in tls.authority`, advice);
}

const dayOf = ({ validTo }: X509Certificate): string =>
  new Date(Date.parse(validTo)).toISOString().slice(0, 10);

function timeFindings(
  certificate: X509Certificate,
  path: string,
  nowMs: number,
  command: string,
): Finding[] {
  const startMs = Date.parse(certificate.validFrom);
  const endMs = Date.parse(certificate.validTo);
  const renew = `Run: ${command}, copy the files here, then: systemctl reload casemate`;
  if (nowMs < startMs) {
    const text = `${path} is valid from ${new Date(startMs).toISOString()} only`;
    return [error(text, 'Set the clock of this machine: by it that is still to come.')];
  }
  if (nowMs > endMs) return [error(`${path} ended on ${dayOf(certificate)}`, renew)];
  const daysLeft = Math.floor((endMs - nowMs) / dayMs);
  if (daysLeft >= daysWarned) return [];
  return [warning(`${path} ends in ${daysLeft} days, on ${dayOf(certificate)}`, renew)];
}
