/** What a site says of itself, gathered from its parts when somebody asks. */

import { healthProblems } from '../metrics/health.ts';
import type { PeerState } from '../replication/core/events.ts';
import { etcdAcceptor } from '../replication/register/etcd-record.ts';
import { blockSizeBytes } from '../wal/checksum.ts';
import { formatSize } from './config/sizes.ts';
import { durationText } from './duration-text.ts';
import type { SiteParts } from './site-parts.ts';
import type { GroupStatus, PeerCopyStatus, SiteStatus, VolumeStatus } from './site-status.ts';
import { softwareVersion } from './version.ts';
import type { Group } from './volume/group.ts';
import type { Volume } from './volume/volume.ts';
import { waitReasons } from './wait-reasons.ts';

/** So many unreadable parts of a volume are named. */
const unreadableShown = 16;

/** The whole status of a site. */
export async function siteStatus(site: SiteParts): Promise<SiteStatus> {
  const { config, log, store, clock, peer } = site;
  const stats = log.stats();
  const groups = await Promise.all([...site.groups.all].map((group) => groupStatus(site, group)));
  const status: Omit<SiteStatus, 'problems'> = {
    site: config.site,
    cluster: config.cluster,
    version: softwareVersion,
    storeId: store.storeId,
    startedAtMs: site.startedAtMs,
    nowMs: clock.wallMs(),
    peer: {
      name: config.peer.site,
      address: config.peer.address,
      connected: peer.connected,
      sinceMs: peer.sinceMs,
      roundTripMs: peer.stats().roundTripMs,
      problem: peer.problem,
    },
    register: site.register.status(),
    witness: site.witness.figures,
    witnessDifference: site.witness.voters.difference,
    certificates: site.certificates,
    log: {
      sizeBytes: stats.sizeBytes,
      limitBytes: stats.limitBytes,
      usedBytes: stats.usedBytes,
      failed: site.failure,
      recovery: site.recovery.report.text,
    },
    groups: groups.sort((left, right) => left.name.localeCompare(right.name)),
  };
  return { ...status, problems: healthProblems(status) };
}

/** One volume, as the lists show it. */
export async function volumeStatus(site: SiteParts, volume: Volume): Promise<VolumeStatus> {
  const { nbd } = site.config;
  const uris = [`nbd+unix:///${volume.name}?socket=${nbd.unix}`];
  if (nbd.listen !== undefined) uris.push(`nbd://${nbd.listen}/${volume.name}`);
  const { group } = site.operations.find(volume.name);
  return {
    name: volume.name,
    group: group.groupName,
    sizeBytes: volume.sizeBytes,
    allocatedBytes: await volume.allocatedBytes(),
    clientConnections: volume.connections,
    exportUri: uris,
    unreadable: volume.store.damage.badRanges().slice(0, unreadableShown),
    unreadableBytes: volume.store.damage.badBlockCount * blockSizeBytes,
  };
}

async function groupStatus(site: SiteParts, group: Group): Promise<GroupStatus> {
  const { view, counters } = group;
  const stored = site.groups.stored(group.groupId);
  const nowMs = site.clock.nowMs();
  const wait = waitOf(site, group, nowMs);
  const volumes = [...group.volumes.all];
  return {
    id: group.groupId,
    name: group.groupName,
    role: view.role,
    primarySite: siteOf(site, view.config?.primary),
    inSyncSites: (view.config?.inSync ?? []).map((store) => siteOf(site, store) ?? 'unknown'),
    epoch: view.config?.epoch ?? 0,
    voters: (view.config?.acceptors ?? []).map((store) => voterName(site, store)),
    onPeerLoss: stored.onPeerLoss,
    preferredSite: stored.preferredSite ?? undefined,
    serves: servesClients(group),
    wait,
    peer: peerCopy(site, group, nowMs),
    resync: resyncStatus(group),
    split: site.splits.status(group),
    inSync: view.inSyncWithPeer,
    end: view.end,
    commit: view.commit,
    applied: Math.min(group.volumes.appliedThrough, view.commit),
    checkpoint: counters.checkpoint,
    checkpointAtMs: counters.checkpointAtMs,
    unacknowledgedBytes: group.inFlightBytes,
    applyBacklogBytes: group.volumes.backlogBytes,
    heldRequests: group.desk.heldRequests,
    lastOnBothSitesMs: counters.lastOnBothSitesMs,
    suspendedMsTotal: counters.suspendedMs(nowMs),
    volumes: await Promise.all(volumes.map((volume) => volumeStatus(site, volume))),
  };
}

/** Clients of this site are answered: here, or by passing their requests on to the primary. */
export function servesClients(group: Group): boolean {
  const { view } = group;
  if (stallOf(group) !== undefined) return false;
  if (view.reigning) return view.takesWrites && view.takesReads;
  return view.joinedSession !== undefined;
}

/** Code of what the group's clients wait for; undefined when they are served. */
export function waitCodeOf(group: Group): string | undefined {
  return stallOf(group)?.code ?? (servesClients(group) ? undefined : group.view.waitReason?.code);
}

/** This site has no room for writes, whatever its role (I9). */
function stallOf({
  counters,
}: Group):
  | { readonly code: 'disk-full' | 'log-full'; readonly text: string; readonly sinceMs: number }
  | undefined {
  if (counters.stalled !== undefined) return { code: 'disk-full', ...counters.stalled };
  return counters.logFull === undefined ? undefined : { code: 'log-full', ...counters.logFull };
}

function waitOf(site: SiteParts, group: Group, nowMs: number): GroupStatus['wait'] {
  const { view, counters } = group;
  const wallMs = site.clock.wallMs();
  const stall = stallOf(group);
  if (stall !== undefined) {
    const { clears, command } = waitReasons[stall.code];
    return { ...stall, clears, command };
  }
  const reason = view.waitReason;
  if (reason === undefined || servesClients(group)) return undefined;
  const { clears, command } = waitReasons[reason.code];
  const evidence = reason.code === 'damaged' ? counters.logDamage : undefined;
  const found = evidence === undefined ? '' : ` (found: ${evidence})`;
  const text = reason.text + found + missingRegister(site) + missingWitness(site, group);
  const sinceMs = wallMs - (nowMs - (view.waitSinceMs ?? nowMs));
  return { code: reason.code, text, sinceMs, clears, command };
}

/** Etcd decides: whoever waits has to know that it does not answer. */
function missingRegister({ register }: SiteParts): string {
  const { type, reachable, text } = register.status();
  return type === 'etcd' && reachable === false ? `; etcd does not answer (${text})` : '';
}

/** Without the peer the witness decides: whoever waits for both has to know of both. */
function missingWitness({ witness, peer }: SiteParts, { view }: Group): string {
  const { figures } = witness;
  const votes = (view.config?.acceptors.length ?? 0) > 2;
  if (figures === undefined || figures.connected || peer.connected || !votes) return '';
  return `; the witness ${figures.name} does not answer either (${figures.problem ?? 'lost'})`;
}

function voterName(site: SiteParts, storeId: string): string {
  if (storeId === etcdAcceptor) return 'etcd';
  const name = siteOf(site, storeId);
  if (name !== undefined) return name;
  return site.store.witnesses.nameOf(storeId) ?? 'unknown';
}

function siteOf(site: SiteParts, storeId: string | undefined): string | undefined {
  if (storeId === undefined) return undefined;
  if (storeId === site.store.storeId) return site.config.site;
  if (storeId === site.store.peerStoreId) return site.config.peer.site;
  return undefined;
}

function resyncStatus({ resync }: Group): GroupStatus['resync'] {
  const { progress } = resync;
  if (progress === undefined) return undefined;
  const { doneBytes, totalBytes, rateBytes } = progress;
  const secondsLeft = rateBytes > 0 ? (totalBytes - doneBytes) / rateBytes : undefined;
  return { ...progress, secondsLeft };
}

/** How far a resync is, in words. */
function resyncText(group: Group): string {
  const status = resyncStatus(group);
  if (status === undefined) return 'a resync is about to begin: the log no longer reaches back';
  const { direction, full, inPlace, doneBytes, totalBytes, rateBytes, secondsLeft } = status;
  const what = full ? 'everything is compared' : 'what has changed is copied';
  const whose = direction === 'to-here' ? 'this site is resynced' : 'it is resynced from here';
  const percent = totalBytes === 0 ? 100 : Math.floor((100 * doneBytes) / totalBytes);
  const left = secondsLeft === undefined ? '' : `, ${durationText(secondsLeft * 1000)} left`;
  const image = inPlace ? '; until it is done this copy is of no use' : '';
  return (
    `${whose}, ${what}: ${percent} % of ${formatSize(totalBytes)}, ` +
    `${formatSize(Math.round(rateBytes))}/s${left}${image}`
  );
}

function peerCopy(site: SiteParts, group: Group, nowMs: number): PeerCopyStatus {
  const state: PeerState = group.view.peer;
  const name = site.config.peer.site;
  const say = (text: string, remainingRecords = 0): PeerCopyStatus => ({
    state: state.kind,
    text,
    remainingRecords,
  });
  switch (state.kind) {
    case 'disconnected': {
      const since = durationText(nowMs - state.sinceMs);
      return say(
        site.peer.connected
          ? `${name} is connected, but has not followed for ${since}: it starts, or hangs`
          : `${name} has not been connected for ${since}`,
      );
    }
    case 'handshaking':
      return say(`comparing histories with ${name}`);
    case 'catching-up':
      return state.remainingRecords === 0
        ? say(
            'following, but not waited for yet: it comes in when it keeps up, and later each time ' +
              'that it was lost or slow shortly before (replication.rejoinBackoffMsMax)',
          )
        : say(
            `catching up from the log, ${state.remainingRecords} records to go`,
            state.remainingRecords,
          );
    case 'resyncing':
      return say(resyncText(group));
    case 'waited-for':
      return say(`caught up; ${name} acknowledges every write and is about to count as in sync`);
    case 'in-sync':
      return say(`in sync with ${name}, proven by the digest`);
    case 'refused':
      return say(`${state.code}: ${state.text}`);
    default: {
      const never: never = state;
      throw new Error(`no such state ${JSON.stringify(never)}`);
    }
  }
}
