/**
 * Whom a certificate is for: `casemate://CLUSTER/ROLE/NAME`, one of its alternative names. Host
 * names are for clients that look at those (NBD, HTTPS); sites know each other by this one.
 */
import type { X509Certificate } from 'node:crypto';

export const certificateRoles = ['site', 'witness', 'client'] as const;
export type CertificateRole = (typeof certificateRoles)[number];

export interface CertificateName {
  readonly cluster: string;
  readonly role: CertificateRole;
  readonly name: string;
}

const form =
  /^casemate:\/\/([A-Za-z0-9][A-Za-z0-9._-]{0,62})\/(site|witness|client)\/([A-Za-z0-9][A-Za-z0-9.-]{0,62})$/;

/** The name as it is written into a certificate. */
export function formatCertificateName({ cluster, role, name }: CertificateName): string {
  return `casemate://${cluster}/${role}/${name}`;
}

/** What `formatCertificateName` wrote; undefined for anything else. */
export function parseCertificateName(text: string): CertificateName | undefined {
  const [, cluster, roleText, name] = form.exec(text) ?? [];
  const role = certificateRoles.find((each) => each === roleText);
  if (cluster === undefined || role === undefined || name === undefined) return undefined;
  return { cluster, role, name };
}

/** All such names of a certificate; of one that was not made for Casemate, none. */
export function certificateNames(certificate: X509Certificate): readonly CertificateName[] {
  // Node quotes what could be taken for more than one name, and then it does not begin so.
  return (certificate.subjectAltName ?? '').split(', ').flatMap((text) => {
    const name = text.startsWith('URI:') ? parseCertificateName(text.slice(4)) : undefined;
    return name === undefined ? [] : [name];
  });
}

/** Whether one of the names is this one. */
export function includesName(names: readonly CertificateName[], wanted: CertificateName): boolean {
  const text = formatCertificateName(wanted);
  return names.some((name) => formatCertificateName(name) === text);
}

/** The DNS names and addresses of a certificate. */
export function certificateHosts(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '').split(', ').flatMap((text) => {
    const [, host] = /^(?:DNS|IP Address):(.+)$/.exec(text) ?? [];
    return host === undefined ? [] : [host];
  });
}
