/**
 * All that the page shows, in words, in one answer: made here from the site's status, so that the
 * page says what `casemate status` says and its script only has to show it.
 */
import { type Static, Type } from '@sinclair/typebox';
import { explain } from '../api/why.ts';
import { callerText } from '../caller.ts';
import { formatSize } from '../config/sizes.ts';
import { type Advice, allAdvice, compareLevels, headline, type Level } from '../headline.ts';
import type { GroupStatus, SiteEvent, SiteStatus, VolumeStatus } from '../site-status.ts';
import {
  inSyncWord,
  logText,
  peerText,
  registerText,
  resyncText,
  siteText,
  stateWord,
  witnessText,
} from '../site-words.ts';
import type { RequestFigures } from './request-figures.ts';

const text = Type.String();
const level = Type.Union([Type.Literal('well'), Type.Literal('warning'), Type.Literal('error')]);
const advice = Type.Object({
  level,
  text: Type.String({ description: 'What is so.' }),
  advice: Type.String({ description: 'What to do about it.' }),
  command: Type.Optional(Type.String({ description: 'A command that is safe now.' })),
});
const count = Type.Integer({ minimum: 0 });
const sums = Type.Object({
  requests: count,
  bytes: count,
  sumMs: Type.Number(),
  counts: Type.Array(count, { description: 'Requests by latency, one more than bounds.' }),
});

export const overviewSchema = Type.Object({
  site: text,
  cluster: text,
  version: text,
  startedAtMs: Type.Number(),
  nowMs: Type.Number(),
  headline: advice,
  problems: Type.Array(advice, { description: 'All of them, the worst first.' }),
  members: Type.Array(Type.Object({ what: text, level, text })),
  log: Type.Object({ level, text, usedBytes: count, limitBytes: count }),
  volumes: Type.Array(
    Type.Object({
      name: text,
      level,
      role: text,
      state: text,
      inSync: text,
      text: Type.String({ description: 'How it stands, in one sentence.' }),
      clients: count,
      size: text,
      resync: Type.Optional(
        Type.Object({ doneBytes: count, totalBytes: count, text, inGroup: Type.Boolean() }),
      ),
    }),
    { description: 'Those with problems first.' },
  ),
  events: Type.Array(
    Type.Object({ number: count, atMs: Type.Number(), level: text, group: text, text }),
    { description: 'Newest first.' },
  ),
  figures: Type.Object({
    boundsMs: Type.Array(Type.Number()),
    read: sums,
    write: sums,
  }),
});

export type Overview = Static<typeof overviewSchema>;
type Row = Overview['volumes'][number];

/** The newest events that are shown. */
export const eventsShown = 30;

function groupLevel(group: GroupStatus): Level {
  const { serves, inSync, split, peer, volumes } = group;
  if (!serves || split !== undefined || peer.state === 'refused') return 'error';
  if (volumes.some(({ unreadableBytes }) => unreadableBytes > 0)) return 'error';
  return inSync ? 'well' : 'warning';
}

function resyncRow({ resync, volumes, inSync }: GroupStatus): Row['resync'] {
  // The last state of one that is over stays known for a moment.
  if (resync === undefined || inSync) return undefined;
  const { doneBytes, totalBytes } = resync;
  return { doneBytes, totalBytes, text: resyncText(resync), inGroup: volumes.length > 1 };
}

function volumeRow(group: GroupStatus, volume: VolumeStatus, sentence: string): Row {
  const elsewhere = group.primarySite === undefined ? '' : `, primary is ${group.primarySite}`;
  const resync = resyncRow(group);
  return {
    name: volume.name,
    level: groupLevel(group),
    role: group.role === 'primary' ? 'primary' : group.role + elsewhere,
    state: stateWord(group),
    inSync: inSyncWord(group),
    text: sentence,
    clients: volume.clientConnections,
    size: `${formatSize(volume.sizeBytes)}, ${formatSize(volume.allocatedBytes)} used here`,
    ...(resync === undefined ? {} : { resync }),
  };
}

function volumeRows(status: SiteStatus): Row[] {
  const sentences = new Map(explain(status).map((each) => [each.group, each.text]));
  return status.groups
    .flatMap((group) =>
      group.volumes.map((volume) => volumeRow(group, volume, sentences.get(group.name) ?? '')),
    )
    .sort((left, right) => {
      return compareLevels(left.level, right.level) || left.name.localeCompare(right.name);
    });
}

function members(status: SiteStatus): Overview['members'] {
  const { peer, witness, register, log, nowMs } = status;
  const rows: Overview['members'] = [
    {
      what: 'this site',
      level: log.failed === undefined ? 'well' : 'error',
      text: siteText(status),
    },
    { what: 'other site', level: peer.connected ? 'well' : 'warning', text: peerText(status) },
  ];
  if (witness !== undefined) {
    const ofWitness = witness.connected ? 'well' : 'warning';
    rows.push({ what: 'witness', level: ofWitness, text: witnessText(witness, nowMs) });
  }
  const ofRegister = register.reachable === false ? 'warning' : 'well';
  rows.push({ what: 'who decides', level: ofRegister, text: registerText(status) });
  return rows;
}

function plain({ level: ofAdvice, text: what, advice: then, command }: Advice) {
  const said = { level: ofAdvice, text: what, advice: then };
  return command === undefined ? said : { ...said, command };
}

/** Part of the log in use from which on it is shown as a warning; as in `metrics/health.ts`. */
const logUsedPartMax = 0.8;

function logPart({ log }: SiteStatus): Overview['log'] {
  const { usedBytes, limitBytes, failed } = log;
  const ofRoom = usedBytes > logUsedPartMax * limitBytes ? 'warning' : 'well';
  const ofLog = failed === undefined ? ofRoom : 'error';
  return { level: ofLog, text: logText(log), usedBytes, limitBytes };
}

/** Everything the page shows of a site. */
export function overview(
  status: SiteStatus,
  events: readonly SiteEvent[],
  figures: RequestFigures,
): Overview {
  const { site, cluster, version, startedAtMs, nowMs } = status;
  const { boundsMs, read, write } = figures;
  return {
    site,
    cluster,
    version,
    startedAtMs,
    nowMs,
    headline: plain(headline(status)),
    problems: allAdvice(status).map(plain),
    members: members(status),
    log: logPart(status),
    volumes: volumeRows(status),
    events: events.slice(0, eventsShown).map((event) => {
      const { number, atMs, level: ofEvent, group = '', text: what, by } = event;
      const said = by === undefined ? what : `${what}, by ${callerText(by)}`;
      return { number, atMs, level: ofEvent, group, text: said };
    }),
    figures: {
      boundsMs: [...boundsMs],
      read: { ...read, counts: [...read.counts] },
      write: { ...write, counts: [...write.counts] },
    },
  };
}
