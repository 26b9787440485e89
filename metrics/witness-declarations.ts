/** Every metric of a witness, and the figures they are read from. */
import { apiRefusedMetric } from './api-declarations.ts';
import type { NumberMetric } from './metric.ts';
import type { ApiRefused, CertificateMetrics } from './snapshot.ts';

export interface WitnessSnapshot {
  readonly apiRefused?: ApiRefused;
  /** Absent without TLS. */
  readonly certificates?: readonly CertificateMetrics[];
  readonly name: string;
  readonly version: string;
  readonly startedAtMs: number;
  /** It answers nobody any more, since its disk failed. */
  readonly failed: boolean;
  /** Transactions made durable, each for everything that was asked at once. */
  readonly syncs: number;
  readonly clusters: readonly { readonly cluster: string; readonly groups: number }[];
  readonly sites: readonly {
    readonly cluster: string;
    readonly site: string;
    readonly connected: boolean;
    readonly answered: number;
  }[];
}

export const witnessDeclarations: readonly NumberMetric<WitnessSnapshot>[] = [
  {
    type: 'gauge',
    name: 'casemate_witness_info',
    help: 'Always 1; the labels say which witness and version this is.',
    labels: ['witness', 'version'],
    read: ({ name, version }) => [{ labels: { witness: name, version }, value: 1 }],
  },
  {
    type: 'gauge',
    name: 'casemate_witness_start_time_seconds',
    help: 'When the witness started.',
    labels: [],
    read: ({ startedAtMs }) => [{ labels: {}, value: startedAtMs / 1000 }],
  },
  {
    type: 'gauge',
    name: 'casemate_witness_failed',
    help: '1 if its disk failed: it answers nobody until it is restarted.',
    labels: [],
    read: ({ failed }) => [{ labels: {}, value: failed ? 1 : 0 }],
  },
  {
    type: 'gauge',
    name: 'casemate_witness_certificate_expiry_timestamp_seconds',
    help: 'When the certificate of TLS ends: its own, or the first of its authorities.',
    labels: ['certificate'],
    read: ({ certificates = [] }) =>
      certificates.map(({ certificate, expiresAtMs }) => ({
        labels: { certificate },
        value: expiresAtMs / 1000,
      })),
  },
  apiRefusedMetric('casemate_witness_api_refused_total'),
  {
    type: 'counter',
    name: 'casemate_witness_syncs_total',
    help: 'Syncs to stable storage; one for everything that was asked at once.',
    labels: [],
    read: ({ syncs }) => [{ labels: {}, value: syncs }],
  },
  {
    type: 'gauge',
    name: 'casemate_witness_groups',
    help: 'Groups that are remembered.',
    labels: ['cluster'],
    read: ({ clusters }) =>
      clusters.map(({ cluster, groups }) => ({ labels: { cluster }, value: groups })),
  },
  {
    type: 'gauge',
    name: 'casemate_witness_site_connected',
    help: '1 if the site is connected to the witness.',
    labels: ['cluster', 'site'],
    read: ({ sites }) =>
      sites.map(({ cluster, site, connected }) => ({
        labels: { cluster, site },
        value: connected ? 1 : 0,
      })),
  },
  {
    type: 'counter',
    name: 'casemate_witness_answers_total',
    help: 'Questions of the site that were answered.',
    labels: ['cluster', 'site'],
    read: ({ sites }) =>
      sites.map(({ cluster, site, answered }) => ({ labels: { cluster, site }, value: answered })),
  },
];
