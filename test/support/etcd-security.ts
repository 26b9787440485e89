/** Certificates for TLS to etcd, and a user that has to log in. */
import { join } from 'node:path';
import type { EtcdCluster } from './etcd.ts';
import { runOk } from './run-command.ts';

/**
 * A key with its certificate, signed by the authority in the directory. It has no common name: with
 * users enabled etcd 3.4 refuses requests to its gateway that come with one.
 */
export async function certificate(
  directory: string,
  name: string,
  authority = 'ca',
): Promise<void> {
  const path = (file: string): string => join(directory, file);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const names = ['-subj', `/O=${name}`, '-keyout', path(`${name}.key`)];
  if (name === authority) {
    await runOk('openssl', ['req', '-x509', ...newKey, ...names, '-out', path(`${name}.pem`)]);
    return;
  }
  const address = ['-addext', 'subjectAltName=IP:127.0.0.1'];
  await runOk('openssl', ['req', '-new', ...newKey, ...names, ...address, '-out', path('request')]);
  const signer = ['-CA', path(`${authority}.pem`), '-CAkey', path(`${authority}.key`)];
  const request = ['-req', '-in', path('request'), '-copy_extensions', 'copy', '-CAcreateserial'];
  await runOk('openssl', ['x509', ...request, ...signer, '-out', path(`${name}.pem`)]);
}

/** The user may read and write below /casemate/ from now on, and nobody else may anything. */
export async function enableUsers(
  etcd: EtcdCluster,
  user: { readonly name: string; readonly password: string },
): Promise<void> {
  const base64 = (value: string): string => Buffer.from(value).toString('base64');
  const perm = {
    permType: 'READWRITE',
    key: base64('/casemate/'),
    range_end: base64('/casemate0'),
  };
  const { name } = user;
  await etcd.post('/v3/auth/user/add', { name: 'root', password: 'root' });
  await etcd.post('/v3/auth/role/add', { name: 'root' });
  await etcd.post('/v3/auth/user/grant', { user: 'root', role: 'root' });
  await etcd.post('/v3/auth/user/add', user);
  await etcd.post('/v3/auth/role/add', { name });
  await etcd.post('/v3/auth/role/grant', { name, perm });
  await etcd.post('/v3/auth/user/grant', { user: name, role: name });
  await etcd.post('/v3/auth/enable', {});
}
