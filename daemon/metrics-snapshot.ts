/** The site's figures as `metrics/` wants them, read from the counters that their owners keep. */
import type { GroupMetrics, MetricsSnapshot, VolumeMetrics } from '../metrics/snapshot.ts';
import { blockSizeBytes } from '../wal/checksum.ts';
import { LatencyHistogram } from '../wal/latency-histogram.ts';
import type { SiteParts } from './site-parts.ts';
import { servesClients, waitCodeOf } from './status.ts';
import { softwareVersion } from './version.ts';
import type { Group } from './volume/group.ts';
import type { Volume } from './volume/volume.ts';

/** What only the file system knows: asked for before the snapshot, which is taken in one tick. */
export async function allocatedBytes(site: SiteParts): Promise<ReadonlyMap<Volume, number>> {
  const allocated = new Map<Volume, number>();
  for (const { volume } of site.groups.volumes()) {
    allocated.set(volume, await volume.allocatedBytes());
  }
  return allocated;
}

/** All figures of the site at this moment. */
export function metricsSnapshot(
  site: SiteParts,
  allocated: ReadonlyMap<Volume, number>,
): MetricsSnapshot {
  const { config, log, memory, peer } = site;
  const stats = log.stats();
  const link = peer.stats();
  const volumes: VolumeMetrics[] = [];
  for (const { group, volume } of site.groups.volumes()) {
    volumes.push(volumeMetrics(group, volume, allocated.get(volume) ?? 0));
  }
  return {
    site: {
      site: config.site,
      cluster: config.cluster,
      version: softwareVersion,
      startedAtMs: site.startedAtMs,
      wallMs: site.clock.wallMs(),
      monotonicMs: site.clock.nowMs(),
      clientConnections: volumes.reduce((sum, each) => sum + each.clientConnections, 0),
      memoryBytes: memory.usedBytes,
      memoryLimitBytes: memory.limitBytes,
    },
    log: {
      sizeBytes: stats.sizeBytes,
      limitBytes: stats.limitBytes,
      usedBytes: stats.usedBytes,
      failed: site.failure !== undefined,
      commitsTotal: stats.commits,
      syncsTotal: stats.commits,
      framesTotal: stats.frames,
      recordsTotal: stats.records,
      bytesWrittenTotal: stats.appendedBytes,
      commitLatency: stats.commitLatency,
    },
    peer: {
      peer: config.peer.site,
      connected: peer.connected,
      roundTripMs: link.roundTripMs,
      bytesSentTotal: link.bytesOut,
      bytesReceivedTotal: link.bytesIn,
      queuedBytes: link.queuedBytes,
    },
    register: site.register.status(),
    witness: site.witness.figures,
    certificates: site.certificates,
    groups: [...site.groups.all].map((group) => groupMetrics(site, group)),
    volumes,
    histogramBoundsMs: LatencyHistogram.boundsMs,
  };
}

function volumeMetrics(group: Group, volume: Volume, allocated: number): VolumeMetrics {
  const { counters } = volume;
  return {
    volume: volume.name,
    group: group.groupName,
    sizeBytes: volume.sizeBytes,
    allocatedBytes: allocated,
    clientConnections: volume.connections,
    operations: counters.operations,
    readBytes: counters.readBytes,
    writtenBytes: counters.writtenBytes,
    errors: counters.errors,
    healedBlocks: volume.store.damage.healedBlocks,
    unreadableBytes: volume.store.damage.badBlockCount * blockSizeBytes,
    readLatency: counters.readLatency.snapshot(),
    writeLatency: counters.writeLatency.snapshot(),
  };
}

function groupMetrics(site: SiteParts, group: Group): GroupMetrics {
  const { view, counters } = group;
  return {
    group: group.groupName,
    role: view.role,
    serves: servesClients(group),
    inSync: view.inSyncWithPeer,
    peerState: view.peer.kind,
    resync: group.resync.progress,
    resyncReceivedBytes: group.resync.receivedBytes,
    resyncSameBytes: group.resync.sameBytes,
    resyncsCompleted: group.resync.completed,
    voters: view.config?.acceptors.length ?? 0,
    epoch: view.config?.epoch ?? 0,
    endSequence: view.end.sequence,
    commitSequence: view.commit,
    appliedSequence: Math.min(group.volumes.appliedThrough, view.commit),
    checkpointSequence: counters.checkpoint.sequence,
    checkpointAtMs: counters.checkpointAtMs,
    checkpointDurationMs: counters.checkpointDurationMs,
    unacknowledgedBytes: group.inFlightBytes,
    applyBacklogBytes: group.volumes.backlogBytes,
    heldRequests: group.desk.heldRequests,
    lastOnBothSitesMs: counters.lastOnBothSitesMs,
    suspendedMsTotal: counters.suspendedMs(site.clock.nowMs()),
    waitCode: waitCodeOf(group),
    framesFormed: counters.framesFormed,
    recordsFormed: counters.recordsFormed,
    localLogLatency: counters.localLogLatency.snapshot(),
    peerLatency: counters.peerLatency.snapshot(),
    commitLatency: counters.commitLatency.snapshot(),
  };
}
