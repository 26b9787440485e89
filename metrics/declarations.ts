/**
 * Every metric of Casemate: name, meaning, labels, and how it is read from a snapshot. Names begin
 * with `casemate_`, carry base units (seconds, bytes), and counters end in `_total`.
 */
import { apiRefusedMetric } from './api-declarations.ts';
import type { DurationMetric, Labels, NumberMetric, Sample } from './metric.ts';
import {
  type GroupMetrics,
  type HistogramSnapshot,
  type MetricsSnapshot,
  peerCopyStates,
  roles,
  type VolumeMetrics,
  type WitnessMetrics,
} from './snapshot.ts';

type Type = NumberMetric['type'];

const seconds = (ms: number): number => ms / 1000;
const bit = (value: boolean): number => (value ? 1 : 0);

/** A metric of the site as a whole; absent while its value is unknown. */
function site(
  type: Type,
  name: string,
  help: string,
  read: (snapshot: MetricsSnapshot) => number | undefined,
): NumberMetric {
  return {
    type,
    name: `casemate_${name}`,
    help,
    labels: [],
    read: (snapshot) => present({}, read(snapshot)),
  };
}

function present(labels: Labels, value: number | undefined): Sample<number>[] {
  return value === undefined ? [] : [{ labels, value }];
}

function peer(
  type: Type,
  name: string,
  help: string,
  read: (peer: MetricsSnapshot['peer']) => number | undefined,
): NumberMetric {
  return {
    type,
    name: `casemate_${name}`,
    help,
    labels: ['peer'],
    read: (snapshot) => present({ peer: snapshot.peer.peer }, read(snapshot.peer)),
  };
}

function group(
  type: Type,
  name: string,
  help: string,
  read: (group: GroupMetrics) => number | undefined,
): NumberMetric {
  return {
    type,
    name: `casemate_group_${name}`,
    help,
    labels: ['group'],
    read: ({ groups }) => groups.flatMap((each) => present({ group: each.group }, read(each))),
  };
}

/** One series for each state a group can be in: 1 for the one it is in, 0 for the others. */
function groupState(
  name: string,
  help: string,
  label: string,
  states: readonly string[],
  read: (group: GroupMetrics) => string,
): NumberMetric {
  return {
    type: 'gauge',
    name: `casemate_group_${name}`,
    help,
    labels: ['group', label],
    read: ({ groups }) =>
      groups.flatMap((each) =>
        states.map((state) => ({
          labels: { group: each.group, [label]: state },
          value: bit(read(each) === state),
        })),
      ),
  };
}

function groupDuration(
  name: string,
  help: string,
  read: (group: GroupMetrics) => HistogramSnapshot,
): DurationMetric {
  return {
    type: 'histogram',
    name: `casemate_group_${name}_duration_seconds`,
    help,
    labels: ['group'],
    read: ({ groups }) =>
      groups.map((each) => ({ labels: { group: each.group }, value: read(each) })),
  };
}

function labelsOf({ volume, group: name }: VolumeMetrics): Labels {
  return { volume, group: name };
}

function volume(
  type: Type,
  name: string,
  help: string,
  read: (volume: VolumeMetrics) => number,
): NumberMetric {
  return {
    type,
    name: `casemate_volume_${name}`,
    help,
    labels: ['volume', 'group'],
    read: ({ volumes }) => volumes.map((each) => ({ labels: labelsOf(each), value: read(each) })),
  };
}

/** One series of a volume for each operation. */
function volumeByOperation(
  name: string,
  help: string,
  read: (volume: VolumeMetrics) => Readonly<Record<string, number>>,
): NumberMetric {
  return {
    type: 'counter',
    name: `casemate_volume_${name}`,
    help,
    labels: ['volume', 'group', 'operation'],
    read: ({ volumes }) =>
      volumes.flatMap((each) =>
        Object.entries(read(each)).map(([operation, value]) => ({
          labels: { ...labelsOf(each), operation },
          value,
        })),
      ),
  };
}

function volumeDuration(
  name: string,
  help: string,
  read: (volume: VolumeMetrics) => HistogramSnapshot,
): DurationMetric {
  return {
    type: 'histogram',
    name: `casemate_volume_${name}_duration_seconds`,
    help,
    labels: ['volume', 'group'],
    read: ({ volumes }) => volumes.map((each) => ({ labels: labelsOf(each), value: read(each) })),
  };
}

const siteMetrics: readonly NumberMetric[] = [
  {
    type: 'gauge',
    name: 'casemate_build_info',
    help: 'Always 1; the labels say which site and version this is.',
    labels: ['site', 'cluster', 'version'],
    read: ({ site: { site: name, cluster, version } }) => [
      { labels: { site: name, cluster, version }, value: 1 },
    ],
  },
  site('gauge', 'start_time_seconds', 'When the daemon started.', (snapshot) =>
    seconds(snapshot.site.startedAtMs),
  ),
  site('gauge', 'clock_seconds', 'Time of day at this machine when it was asked.', (snapshot) =>
    seconds(snapshot.site.wallMs),
  ),
  site(
    'gauge',
    'monotonic_clock_seconds',
    'The clock that leases are measured by, from an arbitrary start.',
    (snapshot) => seconds(snapshot.site.monotonicMs),
  ),
  site('gauge', 'client_connections', 'NBD clients that are connected.', (snapshot) => {
    return snapshot.site.clientConnections;
  }),
  site(
    'gauge',
    'request_memory_bytes',
    'Memory taken by requests that are held or not yet applied.',
    (snapshot) => snapshot.site.memoryBytes,
  ),
  site(
    'gauge',
    'request_memory_limit_bytes',
    'Limit of that memory; past it clients are slowed down.',
    (snapshot) => snapshot.site.memoryLimitBytes,
  ),
];

const logMetrics: readonly (NumberMetric | DurationMetric)[] = [
  site('gauge', 'log_size_bytes', 'Log space preallocated.', ({ log }) => log.sizeBytes),
  site('gauge', 'log_limit_bytes', 'Largest size the log may have.', ({ log }) => log.limitBytes),
  site(
    'gauge',
    'log_used_bytes',
    'Log space that cannot be freed yet.',
    ({ log }) => log.usedBytes,
  ),
  site('gauge', 'log_failed', '1 if the log failed to write: the site stays down.', ({ log }) =>
    bit(log.failed),
  ),
  site('counter', 'log_commits_total', 'Group commits: appends made durable.', ({ log }) => {
    return log.commitsTotal;
  }),
  site('counter', 'log_syncs_total', 'Syncs of the log to stable storage.', ({ log }) => {
    return log.syncsTotal;
  }),
  site('counter', 'log_frames_total', 'Frames appended to the log.', ({ log }) => log.framesTotal),
  site('counter', 'log_records_total', 'Records appended to the log.', ({ log }) => {
    return log.recordsTotal;
  }),
  site('counter', 'log_written_bytes_total', 'Bytes appended to the log.', ({ log }) => {
    return log.bytesWrittenTotal;
  }),
  {
    type: 'histogram',
    name: 'casemate_log_commit_duration_seconds',
    help: 'Time that one group commit took to be durable in this log.',
    labels: [],
    read: ({ log }) => [{ labels: {}, value: log.commitLatency }],
  },
];

const peerMetrics: readonly NumberMetric[] = [
  peer('gauge', 'peer_connected', '1 if the link to the peer is up.', ({ connected }) => {
    return bit(connected);
  }),
  peer('gauge', 'peer_round_trip_seconds', 'Round trip to the peer.', ({ roundTripMs }) =>
    roundTripMs === undefined ? undefined : seconds(roundTripMs),
  ),
  peer('counter', 'link_sent_bytes_total', 'Bytes sent to the peer.', (each) => {
    return each.bytesSentTotal;
  }),
  peer('counter', 'link_received_bytes_total', 'Bytes received from the peer.', (each) => {
    return each.bytesReceivedTotal;
  }),
  peer('gauge', 'link_queued_bytes', 'Bytes that wait to be sent to the peer.', (each) => {
    return each.queuedBytes;
  }),
];

/** Absent at a site without a witness, and while its value is unknown. */
function witness(
  name: string,
  help: string,
  read: (figures: WitnessMetrics) => number | undefined,
): NumberMetric {
  return {
    type: 'gauge',
    name: `casemate_site_witness_${name}`,
    help,
    labels: ['witness'],
    read: ({ witness: figures }) =>
      figures === undefined ? [] : present({ witness: figures.name }, read(figures)),
  };
}

const witnessMetrics: readonly NumberMetric[] = [
  witness('connected', '1 if this site is connected to its witness.', ({ connected }) => {
    return bit(connected);
  }),
  witness('round_trip_seconds', 'Round trip to the witness.', ({ roundTripMs }) => {
    return roundTripMs === undefined ? undefined : seconds(roundTripMs);
  }),
  witness(
    'last_answer_timestamp_seconds',
    'When the witness last answered this site.',
    ({ lastAnswerMs }) => (lastAnswerMs === undefined ? undefined : seconds(lastAnswerMs)),
  ),
];

const certificateMetric: NumberMetric = {
  type: 'gauge',
  name: 'casemate_certificate_expiry_timestamp_seconds',
  help: "When the certificate of TLS ends: this site's own, or the first of its authorities.",
  labels: ['certificate'],
  read: ({ certificates = [] }) =>
    certificates.map(({ certificate, expiresAtMs }) => ({
      labels: { certificate },
      value: seconds(expiresAtMs),
    })),
};

const registerMetric: NumberMetric = {
  type: 'gauge',
  name: 'casemate_register_reachable',
  help: '1 if etcd answered when it was asked last; absent where the sites decide.',
  labels: ['type'],
  read: ({ register: { type, reachable } }) =>
    present({ type }, reachable === undefined ? undefined : bit(reachable)),
};

const groupMetrics: readonly (NumberMetric | DurationMetric)[] = [
  groupState('role', 'Role of this site for the group.', 'role', roles, ({ role }) => role),
  groupState(
    'peer_state',
    "How far the peer's copy is.",
    'state',
    peerCopyStates,
    ({ peerState }) => peerState,
  ),
  {
    type: 'gauge',
    name: 'casemate_group_resync_bytes',
    help: 'Extents of the resync that is under way, by whether they are done; absent without one.',
    labels: ['group', 'part'],
    read: ({ groups }) =>
      groups.flatMap(({ group: name, resync }) =>
        resync === undefined
          ? []
          : [
              { labels: { group: name, part: 'done' }, value: resync.doneBytes },
              {
                labels: { group: name, part: 'left' },
                value: resync.totalBytes - resync.doneBytes,
              },
            ],
      ),
  },
  group(
    'counter',
    'resync_received_bytes_total',
    'Extents that came from the other site.',
    ({ resyncReceivedBytes }) => resyncReceivedBytes,
  ),
  group(
    'counter',
    'resync_same_bytes_total',
    'Extents that were the same on both sites and were not sent.',
    ({ resyncSameBytes }) => resyncSameBytes,
  ),
  group(
    'counter',
    'resyncs_completed_total',
    'Resyncs of this site that are complete.',
    ({ resyncsCompleted }) => resyncsCompleted,
  ),
  group('gauge', 'serving', '1 if reads and writes are answered.', ({ serves }) => bit(serves)),
  group('gauge', 'in_sync', '1 if both sites have everything.', ({ inSync }) => bit(inSync)),
  {
    type: 'gauge',
    name: 'casemate_group_waiting',
    help: '1 for the reason why the group does not serve; absent while it serves.',
    labels: ['group', 'reason'],
    read: ({ groups }) =>
      groups.flatMap((each) =>
        each.waitCode === undefined
          ? []
          : [{ labels: { group: each.group, reason: each.waitCode }, value: 1 }],
      ),
  },
  group('counter', 'suspended_seconds_total', 'Time in which writes were held.', (each) =>
    seconds(each.suspendedMsTotal),
  ),
  group(
    'gauge',
    'last_write_on_both_sites_timestamp_seconds',
    'When the newest write known to be on both sites was made: the recovery point.',
    ({ lastOnBothSitesMs: ms }) => (ms === undefined ? undefined : seconds(ms)),
  ),
  group(
    'gauge',
    'voters',
    'Who decides on the configuration; 3 with a witness, 1 with etcd.',
    (each) => {
      return each.voters;
    },
  ),
  group('gauge', 'epoch', 'Epoch of the newest configuration known.', ({ epoch }) => epoch),
  group('gauge', 'log_end_sequence', "Last record in this site's log.", (each) => each.endSequence),
  group('gauge', 'commit_sequence', 'Last record known to be committed.', (each) => {
    return each.commitSequence;
  }),
  group('gauge', 'applied_sequence', 'Last record in the data files.', (each) => {
    return each.appliedSequence;
  }),
  group('gauge', 'checkpoint_sequence', 'Last record durable in the data files.', (each) => {
    return each.checkpointSequence;
  }),
  group('gauge', 'checkpoint_timestamp_seconds', 'When the last checkpoint was made.', (each) =>
    seconds(each.checkpointAtMs),
  ),
  group('gauge', 'checkpoint_duration_seconds', 'How long the last checkpoint took.', (each) =>
    seconds(each.checkpointDurationMs),
  ),
  group(
    'gauge',
    'unacknowledged_bytes',
    'Bytes sent to the peer that it has not acknowledged.',
    (each) => each.unacknowledgedBytes,
  ),
  group('gauge', 'apply_backlog_bytes', 'Bytes committed and not yet applied.', (each) => {
    return each.applyBacklogBytes;
  }),
  group('gauge', 'held_requests', 'Requests that wait until the group serves.', (each) => {
    return each.heldRequests;
  }),
  group('counter', 'frames_total', 'Frames formed here as primary.', (each) => each.framesFormed),
  group('counter', 'records_total', 'Records formed here as primary.', (each) => {
    return each.recordsFormed;
  }),
  groupDuration(
    'write_local_log',
    'From the forming of a frame until it was durable in the local log.',
    (each) => each.localLogLatency,
  ),
  groupDuration(
    'write_peer',
    'From the forming of a frame until the peer had acknowledged it.',
    (each) => each.peerLatency,
  ),
  groupDuration(
    'write_commit',
    'From the forming of a frame until it was committed.',
    (each) => each.commitLatency,
  ),
];

const volumeMetrics: readonly (NumberMetric | DurationMetric)[] = [
  volumeByOperation('operations_total', 'Requests of clients that were answered.', (each) => {
    const { writeZeroes, ...others } = each.operations;
    return { ...others, write_zeroes: writeZeroes };
  }),
  volumeByOperation('bytes_total', 'Bytes read and written by clients.', (each) => ({
    read: each.readBytes,
    write: each.writtenBytes,
  })),
  volume('counter', 'errors_total', 'Requests answered with an error.', ({ errors }) => errors),
  volume('counter', 'healed_blocks_total', 'Rotten blocks rewritten from the peer.', (each) => {
    return each.healedBlocks;
  }),
  volume('gauge', 'unreadable_bytes', 'Bytes that reads fail on, as far as known.', (each) => {
    return each.unreadableBytes;
  }),
  volume('gauge', 'size_bytes', 'Size of the volume.', ({ sizeBytes }) => sizeBytes),
  volume('gauge', 'allocated_bytes', "Space the volume takes on this site's disk.", (each) => {
    return each.allocatedBytes;
  }),
  volume('gauge', 'client_connections', 'NBD clients of the volume.', (each) => {
    return each.clientConnections;
  }),
  volumeDuration(
    'read',
    'From the receipt of a read to its answer.',
    ({ readLatency }) => readLatency,
  ),
  volumeDuration(
    'write',
    'From the receipt of a write to its answer.',
    ({ writeLatency }) => writeLatency,
  ),
];

/** All metrics, in the order in which they are shown. */
export const declarations: readonly (NumberMetric | DurationMetric)[] = [
  ...siteMetrics,
  ...logMetrics,
  ...peerMetrics,
  ...witnessMetrics,
  registerMetric,
  certificateMetric,
  apiRefusedMetric('casemate_api_refused_total'),
  ...groupMetrics,
  ...volumeMetrics,
];
