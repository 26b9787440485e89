/** Authorities and certificates for tests, made by `casemate pki` itself. */
import { join } from 'node:path';
import { runCommandLine } from '../../daemon/cli/command-line.ts';
import { readCredentials, writeCredentials } from '../../daemon/cli/pki-files.ts';
import { issueCertificate } from '../../daemon/pki/authority.ts';
import type { CertificateName } from '../../daemon/pki/certificate-name.ts';
import type { TlsFiles } from '../../daemon/system-tls.ts';

/** Runs `casemate pki …`; gives what it printed, throws if it failed. */
export async function pki(...parameters: string[]): Promise<string> {
  let output = '';
  let errors = '';
  const code = await runCommandLine(['pki', ...parameters], {
    write: (text) => {
      output += text;
    },
    writeError: (text) => {
      errors += text;
    },
    interactive: false,
    environment: {},
    ask: () => Promise.reject(new Error('nobody is here')),
  });
  if (code !== 0) throw new Error(`casemate pki ${parameters.join(' ')}: ${code} ${errors}`);
  return output;
}

/** The files of one certificate in an authority's directory. */
export function tlsFiles(directory: string, name: string): TlsFiles {
  return {
    certificate: join(directory, `${name}.pem`),
    key: join(directory, `${name}.key`),
    authority: join(directory, 'authority.pem'),
  };
}

/** The same as lines of the table `tls` of a configuration. */
export function tlsLines(files: TlsFiles): string[] {
  return Object.entries(files).map(([key, path]) => `${key} = "${path}"`);
}

/** An authority with a certificate for each, made as an operator would. */
export async function makePki(
  directory: string,
  cluster: string,
  members: Readonly<Record<string, 'site' | 'witness' | 'client'>>,
): Promise<void> {
  await pki('init', '--dir', directory);
  for (const [name, role] of Object.entries(members)) {
    const who = ['--cluster', cluster, `--${role}`, name];
    await pki('issue', '--dir', directory, ...who, '--host', '127.0.0.1', '--host', 'localhost');
  }
}

/** A certificate that ended yesterday. */
export async function issueExpired(
  directory: string,
  file: string,
  name: CertificateName,
): Promise<void> {
  const authority = readCredentials(directory, 'authority');
  const request = { names: [name], hosts: ['127.0.0.1'], days: -1, nowMs: Date.now() };
  writeCredentials(directory, file, await issueCertificate(authority, request));
}
