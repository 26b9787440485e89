/** Addresses to listen on: free, or held by the daemon that is meant to. */
import { parseAddress } from '../config/address.ts';
import { type Holder, holderOf, type PortFacts, tryPort } from '../system-port-probe.ts';
import { type Finding, findingsOf } from './finding.ts';
import type { Running } from './running.ts';
import type { Subject } from './subject.ts';

const { ok, warning, error } = findingsOf('ports');

type Listens = Subject['listens'][number];

export async function checkPorts(subject: Subject, running: Running): Promise<Finding[]> {
  const found: Finding[] = [];
  const daemon = daemonProcess(subject, running);
  for (const listens of subject.listens) {
    const address = parseAddress(listens.address);
    if (address === undefined || address.port === 0) continue;
    found.push(judgePort(listens, await tryPort(address), running, daemon));
  }
  if (subject.dialedBy !== undefined || subject.kind === 'witness') return found;
  return [...found, ok('replication.listen is not used: this site connects to its peer')];
}

/** The process that listens at `api.listen`, where this user may see it. */
export function daemonProcess(subject: Subject, running: Running): number | undefined {
  const api = subject.listens.find(({ key }) => key === 'api.listen')?.address ?? '';
  const port = running.kind === 'running' ? parseAddress(api)?.port : undefined;
  return port === undefined ? undefined : holderOf(port)?.processId;
}

/** What an address that was tried means; `daemon` is the process that runs, if it is known. */
export function judgePort(
  { key, address }: Listens,
  facts: PortFacts,
  running: Running,
  daemon?: number,
): Finding {
  const place = `${key} (${address})`;
  switch (facts.kind) {
    case 'free': {
      if (running.kind !== 'running') return ok(`${place} is free`);
      const advice = 'Restart the daemon, if the configuration was changed after its start.';
      return warning(`the daemon runs, and does not listen at ${place}`, advice);
    }
    case 'taken': {
      const { holder } = facts;
      const other = holder !== undefined && daemon !== undefined && holder.processId !== daemon;
      if (running.kind === 'running' && !other) return ok(`${place} is held by the running daemon`);
      const by = holderText(holder);
      if (running.kind === 'unclear' && key === 'api.listen') {
        return error(`${place} is taken by ${by}: ${running.text}`, `Stop it, or set ${key}.`);
      }
      return error(
        `${place} is taken by ${by}`,
        `Stop that process, or set ${key} to a free port.`,
      );
    }
    case 'refused':
      return error(`can't listen at ${place}: ${refusal(facts.code)}`, refusalAdvice(key, facts));
  }
}

function holderText(holder: Holder | undefined): string {
  if (holder === undefined) return 'another process (`ss -ltnp` as root names it)';
  return `${holder.name} (process ${holder.processId})`;
}

const refusals: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'this user may not use that port',
  ENOTFOUND: 'there is no host of that name',
};

function refusal(code: string): string {
  return refusals[code] ?? code;
}

function refusalAdvice(key: string, { code }: { readonly code: string }): string {
  if (code === 'EACCES') return `Set ${key} to a port above 1023.`;
  return `Set ${key} to an address of this machine (\`ip address\` lists them).`;
}
