/** `casemate pki …`: a small authority on files, without a network and without a daemon. */
import { X509Certificate } from 'node:crypto';
import {
  type CertificateName,
  type CertificateRole,
  certificateHosts,
  formatCertificateName,
  parseCertificateName,
} from '../pki/certificate-name.ts';
import { wallClockMs } from '../system-clock.ts';
import { alignColumns } from './columns.ts';
import { type Command, readArguments } from './command.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import {
  authorityName,
  certificatePath,
  keyPath,
  listCertificates,
  readCredentials,
  startDirectory,
  writeCredentials,
} from './pki-files.ts';

const standardDirectory = 'casemate-pki';
const authorityDays = 3650;
const certificateDays = 365;
const daysMax = 36_500;
/** Certificates with fewer days than this are pointed out. */
const warningDays = 30;
const dayMs = 86_400_000;

const directoryOption = { dir: { type: 'string' } } as const;
const directoryHelp = `  --dir DIR      the authority's directory (default: ${standardDirectory})`;

function days(text: string | undefined, standard: number, command: string): number {
  if (text === undefined) return standard;
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= 1 && value <= daysMax) return value;
  const hint = `\`casemate ${command} --help\` shows how it is used.`;
  throw usageError(`--days must be a whole number from 1 to ${daysMax}; it is "${text}"`, hint);
}

export const pkiInitCommand: Command = {
  name: 'pki init',
  summary: 'make an authority that issues certificates',
  help: `Usage: casemate pki init [--dir DIR] [--days DAYS]

Makes an authority: authority.pem, which every host gets, and authority.key, which stays where it
is. Whoever has that key can pass for any site.

${directoryHelp}
  --days DAYS    how long it is valid (default: ${authorityDays})

Example:
  casemate pki init --dir /root/casemate-pki
`,
  run: async (args, terminal) => {
    const options = { ...directoryOption, days: { type: 'string' } } as const;
    const { values } = readArguments('pki init', args, options, []);
    const directory = values.dir ?? standardDirectory;
    const valid = days(values.days, authorityDays, 'pki init');
    const { makeAuthority } = await import('../pki/authority.ts');
    startDirectory(directory);
    const validity = { nowMs: wallClockMs(), days: valid };
    writeCredentials(directory, authorityName, await makeAuthority('Casemate', validity));
    terminal.write(`made ${certificatePath(directory, authorityName)}, valid for ${valid} days\n`);
    return exitCodes.ok;
  },
};

/** The one role that was asked for, and its name. */
function subject(values: Partial<Record<CertificateRole, string>>): {
  role: CertificateRole;
  name: string;
} {
  const asked = (['site', 'witness', 'client'] as const).flatMap((role) => {
    const name = values[role];
    return name === undefined ? [] : [{ role, name }];
  });
  const [only] = asked;
  if (only !== undefined && asked.length === 1) return only;
  throw usageError(
    'one of --site, --witness and --client is needed',
    '`casemate pki issue --help` shows how it is used.',
  );
}

export const pkiIssueCommand: Command = {
  name: 'pki issue',
  summary: 'issue a certificate to a site, a witness or a client',
  help: `Usage: casemate pki issue --cluster NAME (--site | --witness | --client) NAME [OPTIONS]

Issues a certificate and its key, as DIR/NAME.pem and DIR/NAME.key. The names are those of the
configuration: sites and witness know each other by them.

  --cluster NAME  the pair of sites; for a witness of several pairs, several times
  --site NAME     for a site
  --witness NAME  for a witness
  --client NAME   for a client, which can't pass for a site with it
  --host HOST     a DNS name or address under which NBD clients reach it; may be repeated
  --days DAYS     how long it is valid (default: ${certificateDays})
${directoryHelp.replace('DIR      ', 'DIR       ')}

Examples:
  casemate pki issue --cluster prod --site lux-1 --host storage-1.example.org --host 10.0.0.1
  casemate pki issue --cluster prod --witness lux-w
  casemate pki issue --cluster prod --client vm-1
`,
  run: async (args, terminal) => {
    const options = {
      ...directoryOption,
      cluster: { type: 'string', multiple: true },
      site: { type: 'string' },
      witness: { type: 'string' },
      client: { type: 'string' },
      host: { type: 'string', multiple: true },
      days: { type: 'string' },
    } as const;
    const { values } = readArguments('pki issue', args, options, []);
    const directory = values.dir ?? standardDirectory;
    const { role, name } = subject(values);
    const hint = '`casemate pki issue --help` shows how it is used.';
    const clusters = values.cluster ?? [];
    if (clusters.length === 0) throw usageError('--cluster NAME is missing', hint);
    if (clusters.length > 1 && role !== 'witness') {
      throw usageError(`a ${role} is of one cluster only`, hint);
    }
    if (name === authorityName) {
      throw usageError(`"${name}" is the name of the authority's own files`, hint);
    }
    const names = clusters.map((cluster): CertificateName => {
      const wanted = { cluster, role, name };
      if (parseCertificateName(formatCertificateName(wanted)) !== undefined) return wanted;
      throw usageError(`"${name}" or "${cluster}" is no name: letters, digits, "-" and "."`, hint);
    });
    const valid = days(values.days, certificateDays, 'pki issue');
    await issue(directory, name, { names, hosts: values.host ?? [], days: valid });
    terminal.write(
      `made ${certificatePath(directory, name)} and ${keyPath(directory, name)}, ` +
        `valid for ${valid} days\n`,
    );
    return exitCodes.ok;
  },
};

async function issue(
  directory: string,
  name: string,
  request: {
    readonly names: readonly CertificateName[];
    readonly hosts: readonly string[];
    readonly days: number;
  },
): Promise<void> {
  const authority = readCredentials(directory, authorityName);
  const { issueCertificate } = await import('../pki/authority.ts');
  const made = await issueCertificate(authority, { ...request, nowMs: wallClockMs() });
  writeCredentials(directory, name, made);
}

export const pkiRenewCommand: Command = {
  name: 'pki renew',
  summary: 'issue a certificate anew, with the same names and a new key',
  help: `Usage: casemate pki renew NAME [--dir DIR] [--days DAYS]

Issues a certificate anew, with the same names and a new key, over the old files. Copy both to their
host, and let the daemon read them: systemctl reload (SIGHUP). The old one stays valid to its end.

${directoryHelp}
  --days DAYS    how long it is valid (default: ${certificateDays})

Example:
  casemate pki renew lux-1
`,
  run: async (args, terminal) => {
    const options = { ...directoryOption, days: { type: 'string' } } as const;
    const { values, positionals } = readArguments('pki renew', args, options, ['NAME']);
    const directory = values.dir ?? standardDirectory;
    const [name = ''] = positionals;
    const hint = '`casemate pki renew --help` shows how it is used.';
    if (name === authorityName) {
      throw usageError('an authority is not renewed: make a new one, and trust both', hint);
    }
    const old = new X509Certificate(readCredentials(directory, name).certificate);
    const [entry] = listCertificates(directory).filter(({ file }) => file === `${name}.pem`);
    const valid = days(values.days, certificateDays, 'pki renew');
    const hosts = certificateHosts(old);
    await issue(directory, name, { names: entry?.names ?? [], hosts, days: valid });
    terminal.write(`renewed ${certificatePath(directory, name)}, valid for ${valid} days\n`);
    return exitCodes.ok;
  },
};

export const pkiShowCommand: Command = {
  name: 'pki show',
  summary: 'list the certificates of an authority and when they end',
  help: `Usage: casemate pki show [--dir DIR]

Lists the certificates in the authority's directory: whom they are for and when they end. Exits with
1 if one ends within ${warningDays} days.

${directoryHelp}

Example:
  casemate pki show
`,
  run: async (args, terminal) => {
    const { values } = readArguments('pki show', args, directoryOption, []);
    const directory = values.dir ?? standardDirectory;
    readCredentials(directory, authorityName);
    const nowMs = wallClockMs();
    const list = listCertificates(directory).map((each) => ({
      ...each,
      daysLeft: Math.floor((each.expiresAtMs - nowMs) / dayMs),
    }));
    const rows = list.map(({ file, names, hosts, expiresAtMs, daysLeft }) => [
      file,
      names.length === 0 ? '-' : names.map(formatCertificateName).join(' '),
      hosts.length === 0 ? '-' : hosts.join(' '),
      new Date(expiresAtMs).toISOString().slice(0, 10),
      daysLeft < 0 ? 'EXPIRED' : `${daysLeft} days${daysLeft < warningDays ? ' LEFT' : ''}`,
    ]);
    terminal.write(alignColumns([['FILE', 'FOR', 'HOSTS', 'ENDS', 'LEFT'], ...rows]));
    return list.some(({ daysLeft }) => daysLeft < warningDays) ? exitCodes.failed : exitCodes.ok;
  },
};
