import { spawnSync } from 'node:child_process';
import t from 'tap';
import { declarations } from '../../metrics/declarations.ts';
import { SiteMetrics } from '../../metrics/site-metrics.ts';
import type { GroupMetrics, MetricsSnapshot, VolumeMetrics } from '../../metrics/snapshot.ts';
import { LatencyHistogram } from '../../wal/latency-histogram.ts';

function histogram(...observedMs: number[]) {
  const result = new LatencyHistogram();
  for (const ms of observedMs) result.observe(ms);
  return result.snapshot();
}

function volume(name: string, more: Partial<VolumeMetrics> = {}): VolumeMetrics {
  return {
    volume: name,
    group: 'vm',
    sizeBytes: 1024,
    allocatedBytes: 512,
    clientConnections: 1,
    operations: { read: 5, write: 7, writeZeroes: 1, trim: 2, flush: 3 },
    readBytes: 4096,
    writtenBytes: 8192,
    errors: 0,
    healedBlocks: 2,
    unreadableBytes: 4096,
    readLatency: histogram(0.05, 3),
    writeLatency: histogram(0.4, 0.4, 100_000),
    ...more,
  };
}

function group(name: string, more: Partial<GroupMetrics> = {}): GroupMetrics {
  return {
    group: name,
    role: 'primary',
    serves: true,
    inSync: true,
    peerState: 'in-sync',
    resync: { doneBytes: 1024, totalBytes: 4096 },
    resyncReceivedBytes: 512,
    resyncSameBytes: 256,
    resyncsCompleted: 1,
    epoch: 3,
    voters: 3,
    endSequence: 10,
    commitSequence: 9,
    appliedSequence: 8,
    checkpointSequence: 7,
    checkpointAtMs: 1_700_000_000_000,
    checkpointDurationMs: 12,
    unacknowledgedBytes: 4096,
    applyBacklogBytes: 0,
    heldRequests: 0,
    lastOnBothSitesMs: 1_700_000_001_500,
    suspendedMsTotal: 4100,
    waitCode: undefined,
    framesFormed: 4,
    recordsFormed: 16,
    localLogLatency: histogram(0.2),
    peerLatency: histogram(0.3),
    commitLatency: histogram(0.3),
    ...more,
  };
}

function snapshot(more: Partial<MetricsSnapshot> = {}): MetricsSnapshot {
  return {
    site: {
      site: 'lux-1',
      cluster: 'lux',
      version: '0.1.0',
      startedAtMs: 1_700_000_000_000,
      wallMs: 1_700_000_100_000,
      monotonicMs: 5_000,
      clientConnections: 2,
      memoryBytes: 100,
      memoryLimitBytes: 1000,
    },
    apiRefused: { 'no-token': 3, 'wrong-token': 1, role: 0 },
    log: {
      sizeBytes: 1,
      limitBytes: 2,
      usedBytes: 1,
      failed: false,
      commitsTotal: 4,
      syncsTotal: 4,
      framesTotal: 4,
      recordsTotal: 16,
      bytesWrittenTotal: 65_536,
      commitLatency: histogram(0.2),
    },
    peer: {
      peer: 'lux-2',
      connected: true,
      roundTripMs: 0.4,
      bytesSentTotal: 1,
      bytesReceivedTotal: 1,
      queuedBytes: 0,
    },
    register: { type: 'etcd', reachable: true },
    certificates: [{ certificate: 'own', expiresAtMs: 1_800_000_000_000 }],
    witness: {
      name: 'lux-w',
      connected: true,
      lastAnswerMs: 1_700_000_000_000,
      roundTripMs: 0.6,
    },
    groups: [group('vm')],
    volumes: [volume('vm')],
    histogramBoundsMs: LatencyHistogram.boundsMs,
    ...more,
  };
}

t.test('promtool finds nothing to complain about', async (t) => {
  const waiting = group('db "1"\\', { serves: false, waitCode: 'peer-lost' });
  const text = await new SiteMetrics(() => snapshot({ groups: [group('vm'), waiting] })).text();
  const { status, stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    encoding: 'utf8',
  });
  t.equal(error, undefined, 'promtool runs (it is part of Prometheus)');
  t.equal(`${stdout}${stderr}`, '');
  t.equal(status, 0);
});

t.test('every declared metric is shown, once, with a help sentence', async (t) => {
  const waiting = group('db', { waitCode: 'peer-lost' });
  const text = await new SiteMetrics(() => snapshot({ groups: [waiting] })).text();
  for (const { name, type, help } of declarations) {
    t.equal(text.split(`# TYPE ${name} ${type}\n`).length, 2, name);
    t.match(text, new RegExp(`^${name}(_count)?[{ ]`, 'm'), `${name} has a value`);
    t.match(help, /^[A-Z01].*\.$/, name);
  }
});

t.test(
  'every scrape shows the figures of its moment, and nothing of groups that went',
  async (t) => {
    let current = snapshot();
    const metrics = new SiteMetrics(() => current);
    t.match(await metrics.text(), 'casemate_volume_errors_total{volume="vm",group="vm"} 0\n');
    current = snapshot({ volumes: [volume('db', { errors: 3 })], groups: [] });
    const text = await metrics.text();
    t.match(text, 'casemate_volume_errors_total{volume="db",group="vm"} 3\n');
    t.notMatch(text, 'volume="vm"');
    t.notMatch(text, 'casemate_group_serving{');
    t.equal((await metrics.text()).match(/operations_total\{[^}]*"flush"\} 3/g)?.length, 1);
  },
);

t.test('times are in seconds, histograms cumulative', async (t) => {
  const text = await new SiteMetrics(() => snapshot()).text();
  t.match(text, 'last_write_on_both_sites_timestamp_seconds{group="vm"} 1700000001.5\n');
  t.match(text, 'casemate_group_suspended_seconds_total{group="vm"} 4.1\n');
  const name = 'casemate_volume_write_duration_seconds';
  t.match(text, `${name}_bucket{volume="vm",group="vm",le="0.00025"} 0\n`);
  t.match(text, `${name}_bucket{volume="vm",group="vm",le="0.0004"} 2\n`);
  t.match(text, `${name}_bucket{volume="vm",group="vm",le="40"} 2\n`);
  t.match(text, `${name}_bucket{volume="vm",group="vm",le="+Inf"} 3\n`);
  t.match(text, `${name}_sum{volume="vm",group="vm"} 100.0008\n`);
  t.match(text, `${name}_count{volume="vm",group="vm"} 3\n`);
});

t.test('a state is 1 for the one that holds and 0 for the others', async (t) => {
  const text = await new SiteMetrics(() => snapshot()).text();
  t.match(text, 'casemate_group_role{group="vm",role="primary"} 1\n');
  t.match(text, 'casemate_group_role{group="vm",role="secondary"} 0\n');
  t.match(text, 'casemate_group_peer_state{group="vm",state="in-sync"} 1\n');
  t.match(text, 'casemate_group_peer_state{group="vm",state="refused"} 0\n');
});

t.test('a reason is shown only while the group waits, unknown values not at all', async (t) => {
  const groups = [group('vm', { waitCode: 'grace', lastOnBothSitesMs: undefined })];
  const peer = { ...snapshot().peer, roundTripMs: undefined };
  const text = await new SiteMetrics(() => snapshot({ groups, peer })).text();
  t.match(text, 'casemate_group_waiting{group="vm",reason="grace"} 1\n');
  t.notMatch(text, 'timestamp_seconds{group="vm"} NaN');
  t.notMatch(text, /^casemate_peer_round_trip_seconds/m);
  t.notMatch(text, /^casemate_group_last_write_on_both_sites/m);
  t.notMatch(await new SiteMetrics(() => snapshot()).text(), /^casemate_group_waiting/m);
});

t.test('the delay of the event loop and the memory of the process are there', async (t) => {
  const text = await new SiteMetrics(() => snapshot()).text();
  t.match(text, /^nodejs_eventloop_lag_p99_seconds /m);
  t.match(text, /^process_resident_memory_bytes /m);
});
