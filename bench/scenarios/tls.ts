/**
 * What TLS costs. Between the sites: the same writes at a pair with certificates and at one
 * without, in turns, clients on the Unix socket at both. For clients: the same reads over TCP with
 * and without STARTTLS, at the pair with certificates, which offers it. fio can't be told of
 * certificates, so these are copies by nbdcopy.
 */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { makePki } from '../../test/support/certificates.ts';
import { runOk } from '../../test/support/run-command.ts';
import { type CasematePair, mainVolume } from '../casemate.ts';
import { casemateName, casemateTlsName } from '../casemate-names.ts';
import { withCosts } from '../costed-run.ts';
import { runFio } from '../fio.ts';
import { distanceLoads, tlsJob } from '../scenario-jobs.ts';
import type { Session } from '../session.ts';
import { median, ratio } from '../statistics.ts';

const mebibyte = 2 ** 20;
const client = 'client';
const volumeBytes = 256 * mebibyte;

type Load = (typeof distanceLoads)[number];

/** Two pairs of its own, compared at their end. */
export async function measureTls(session: Session): Promise<void> {
  const { logBytes, quick } = session.settings;
  session.plan(0);
  const pki = session.makeDirectory();
  await makePki(pki, 'test', { 'lux-1': 'site', 'lux-2': 'site', [client]: 'client' });
  const pairs = [
    { name: casemateName, pair: await session.startPair({ logBytes }) },
    { name: casemateTlsName, pair: await session.startPair({ logBytes, tlsFrom: pki }) },
  ];
  for (const { name, pair } of pairs) {
    session.results.setTarget(name, pair.asTarget());
    await pair.createVolume({ name: mainVolume, sizeBytes: volumeBytes });
    for (const load of distanceLoads) await write(session, pair, load, quick ? 1 : 3);
  }
  await measureSites(session, pairs);
  const secure = pairs[1]?.pair;
  if (secure !== undefined) await measureClients(session, secure, pki);
  for (const { pair } of pairs) await session.finishPair('tls', pair);
}

function write(session: Session, pair: CasematePair, workload: Load, seconds: number) {
  const { directory } = session;
  const uris = [pair.uri(mainVolume)];
  return runFio({ uris, workload, sizeBytes: volumeBytes, seconds, directory });
}

async function measureSites(
  session: Session,
  pairs: readonly { readonly name: string; readonly pair: CasematePair }[],
): Promise<void> {
  const { rounds, seconds } = session.settings;
  for (let round = 1; round <= rounds; round += 1) {
    for (const load of distanceLoads) {
      for (const { name, pair } of pairs) {
        session.progress(`${name}, ${load.load} (round ${round} of ${rounds})`);
        const sample = await withCosts(session, pair, () => write(session, pair, load, seconds));
        session.results.add(tlsJob(load.name), name, sample);
        session.progressRow(tlsJob(load.name), sample);
      }
    }
  }
  for (const { name, load } of distanceLoads) {
    const rate = (target: string) => session.results.median(tlsJob(name), target, 'rate');
    setRatio(session, `tls-sites-${name}`, {
      title: `TLS between the sites, ${load}: of the rate without`,
      value: ratio(rate(casemateTlsName), rate(casemateName)),
      note: 'median of the rounds; clients on the Unix socket',
    });
  }
}

async function measureClients(session: Session, pair: CasematePair, pki: string): Promise<void> {
  const certificates = join(pki, 'of-client');
  mkdirSync(certificates);
  copyFileSync(join(pki, 'authority.pem'), join(certificates, 'ca-cert.pem'));
  copyFileSync(join(pki, `${client}.pem`), join(certificates, 'client-cert.pem'));
  copyFileSync(join(pki, `${client}.key`), join(certificates, 'client-key.pem'));
  const plain = pair.tcpUri(mainVolume);
  const secure = `${plain.replace('nbd:', 'nbds:')}?tls-certificates=${certificates}`;
  const rates = { plain: [] as number[], secure: [] as number[] };
  for (let round = 0; round <= session.settings.rounds; round += 1) {
    for (const [kind, uri] of [['plain', plain] as const, ['secure', secure] as const]) {
      session.progress(`a copy out of the volume, ${kind}`);
      const rate = await copyRate(uri);
      // The first one warms up.
      if (round > 0) rates[kind].push(rate);
    }
  }
  setRatio(session, 'tls-clients', {
    title: 'TLS of a client, reading by nbdcopy: of the MiB/s without',
    value: ratio(median(rates.secure), median(rates.plain)),
    note: `${Math.round(median(rates.plain) ?? 0)} MiB/s without, over TCP on loopback, from the page cache`,
  });
}

/** MiB/s of reading the whole volume over one connection. */
async function copyRate(uri: string): Promise<number> {
  const begunMs = performance.now();
  await runOk('nbdcopy', ['--connections=1', '--requests=16', uri, 'null:']);
  return volumeBytes / mebibyte / ((performance.now() - begunMs) / 1000);
}

function setRatio(
  session: Session,
  name: string,
  figure: { readonly title: string; readonly value: number | undefined; readonly note: string },
): void {
  const { value } = figure;
  if (value !== undefined) session.results.setValue(name, { ...figure, value, unit: 'ratio' });
}
