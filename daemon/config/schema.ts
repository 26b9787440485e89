/**
 * Every key of the configuration file: its type, limits, default and meaning. This one declaration
 * gives the check, the TypeScript type and the reference in the README. Relations between keys are
 * in `relations.ts`.
 */
import { Type } from '@sinclair/typebox';
import { registerTable } from './register-table.ts';
import {
  address,
  apiTable,
  type Checked,
  clusterName,
  integer,
  loggingTable,
  path,
  siteName,
  size,
  table,
  tlsTable,
} from './schema-parts.ts';

const hour = 3_600_000;

const replication = table(
  {
    listen: address(
      'Where the peer connects to. Without [tls] neither encrypted nor authenticated: only on a network that is yours alone.',
    ),
    heartbeatMs: integer(
      { min: 5, max: 60_000, standard: 300 },
      'A heartbeat goes to the peer when nothing else was sent for so long.',
    ),
    ackTimeoutMs: integer(
      { min: 20, max: 300_000, standard: 1500 },
      'A peer that leaves a write unacknowledged for longer is dropped from the in-sync set: the longest a slow peer delays a write.',
    ),
    leaseMs: integer(
      { min: 20, max: 300_000, standard: 1600 },
      "How long the peer's acknowledgement lets the primary answer reads.",
    ),
    graceMs: integer(
      { min: 25, max: 600_000, standard: 2100 },
      'How long a secondary that has acknowledged nothing waits before it takes over.',
    ),
    reads: Type.Union([Type.Literal('lease'), Type.Literal('confirmed')], {
      default: 'lease',
      description:
        'What lets the primary answer reads while both sites are in sync: the lease ("lease"), or an answer of the peer to each batch of reads ("confirmed"), for hosts whose clock can stop, such as virtual machines that are paused or moved.',
    }),
    connectMs: integer(
      { min: 20, max: 300_000, standard: 3000 },
      'How long an attempt to connect may take, and how long a starting primary waits for its peer.',
    ),
    registerPollMs: integer(
      { min: 20, max: hour, standard: 5000 },
      'How often the register is read when nothing else asks for it.',
    ),
    rejoinBackoffMs: integer(
      { min: 10, max: hour, standard: 1000 },
      'First pause before a peer that fell out while it was rejoining is waited for again; doubles each time.',
    ),
    rejoinBackoffMsMax: integer({ min: 10, max: hour, standard: 60_000 }, 'Longest such pause.'),
    inFlightBytesMax: size(
      { min: '1MiB', max: '4GiB', standard: '64MiB' },
      'Bytes of a group that may be sent to the peer and not yet acknowledged.',
    ),
    linkQueueBytesMax: size(
      { min: '72MiB', max: '16GiB', standard: '256MiB' },
      'Bytes of all groups that may wait to be sent to the peer.',
    ),
    onPeerLoss: Type.Union([Type.Literal('suspend'), Type.Literal('preferred')], {
      default: 'suspend',
      description:
        'Default for new volumes: without the peer, let the preferred site go on alone ("preferred"), or the one that the witness answers, and without a witness hold I/O ("suspend").',
    }),
    preferredSite: Type.Optional(
      siteName(
        'Default for new volumes with onPeerLoss = "preferred": the site that goes on alone; the one where the volume is created if absent.',
      ),
    ),
  },
  'The link to the peer and the times of the protocol. The times have to be the same on both sites.',
);

const log = table(
  {
    sizeBytes: size(
      { min: '64MiB', max: '4TiB', standard: '1GiB' },
      'Size of the write-ahead log, preallocated.',
    ),
    segmentBytes: size(
      { min: '16MiB', max: '1GiB', standard: '64MiB' },
      'Size of one log segment; a multiple of 4 KiB.',
    ),
    commitBytesMax: size(
      { min: '64KiB', max: '256MiB', standard: '4MiB' },
      'Bytes that one group commit gathers at most.',
    ),
    checkpointMs: integer(
      { min: 50, max: hour, standard: 5000 },
      'Time between checkpoints, which sync the data files and free log space.',
    ),
    checkpointBytes: size(
      { min: '1MiB', max: '1TiB', standard: '256MiB' },
      'A checkpoint is made sooner when so much was logged since the last one.',
    ),
  },
  'The write-ahead log.',
);

const volumes = table(
  {
    memoryBytesMax: size(
      { min: '4MiB', max: '256GiB', standard: '256MiB' },
      'Memory for requests of all clients that are held or not yet applied; past it sockets are not read. Groups that do not serve take at most a quarter of it each, and half of it together.',
    ),
    applyBacklogBytesMax: size(
      { min: '1MiB', max: '64GiB', standard: '64MiB' },
      'Bytes of a group that may be committed and not yet written to its data files.',
    ),
    checksumCacheBytesMax: size(
      { min: '64KiB', max: '64GiB', standard: '4MiB' },
      'Memory for block checksums of each volume; 1 MiB covers 1 GiB of data.',
    ),
    applyConcurrency: integer(
      { min: 1, max: 64, standard: 4 },
      'Writes to data files that are under way at once.',
    ),
    countMax: integer({ min: 1, max: 65_536, standard: 256 }, 'Volumes that this site keeps.'),
    sizeBytesMax: size(
      { min: '1MiB', max: '4096TiB', standard: '64TiB' },
      'Largest volume that can be created.',
    ),
  },
  'Limits of the volumes.',
);

const resync = table(
  {
    rateBytesMin: size(
      { min: '64KiB', max: '64GiB', standard: '8MiB' },
      'Bytes per second that the resyncs of this site, as source, may always take together.',
    ),
    rateBytesMax: size(
      { min: '64KiB', max: '64GiB', standard: '1GiB' },
      'Bytes per second that they take at most, while the writes of clients do not suffer.',
    ),
    concurrency: integer(
      { min: 1, max: 64, standard: 2 },
      'Groups of this site that copy at once; the others take turns.',
    ),
    stageBytesMax: size(
      { min: '1MiB', max: '4096TiB', standard: '1TiB' },
      'Disk space that the resync of one group may take beside its data files; what does not fit goes into them, and there is no old image to go back to.',
    ),
  },
  'Bringing a copy up to date that the log no longer reaches.',
);

const nbd = table(
  {
    unix: path('Unix socket on which NBD clients are served.', {
      derivedDefault: '<dataDirectory>/nbd.sock',
    }),
    listen: Type.Optional(
      address(
        'TCP address on which NBD clients are served as well. Without [tls] neither encrypted nor authenticated: only on a network that is yours alone.',
      ),
    ),
    tls: Type.Union([Type.Literal('required'), Type.Literal('offered'), Type.Literal('off')], {
      default: 'required',
      description:
        'With [tls], what TCP clients have to do: STARTTLS with a certificate of this cluster ("required"), the same or nothing ("offered"), nothing ("off").',
    }),
    connectionsMax: integer(
      { min: 1, max: 65_536, standard: 256 },
      'Client connections; one more is closed at once.',
    ),
    requestsInFlightMax: integer(
      { min: 1, max: 65_536, standard: 512 },
      'Requests of one connection that are not yet answered; past it its socket is not read.',
    ),
    bytesInFlightMax: size(
      { min: '1MiB', max: '16GiB', standard: '64MiB' },
      'Bytes of such requests; past it the socket is not read.',
    ),
    replyQueueBytesMax: size(
      { min: '1MiB', max: '16GiB', standard: '64MiB' },
      'Bytes of answers that a client has not fetched; past it its socket is not read.',
    ),
    handshakeMs: integer(
      { min: 100, max: 600_000, standard: 10_000 },
      'A client that has not chosen its export after so long is disconnected.',
    ),
  },
  'The NBD server.',
);

function accessList(description: string) {
  return Type.Array(Type.String({ minLength: 1 }), {
    default: [],
    maxItems: 1024,
    form: 'a list of "unix", addresses, networks ("10.0.0.0/8") and names of certificates',
    description,
  });
}

export const configSchema = table(
  {
    cluster: Type.String({
      ...clusterName,
      description: 'Name of the pair of sites; the same on both.',
    }),
    site: siteName('Name of this site.'),
    dataDirectory: path('Where the store, the log and the data files are. One daemon each.'),
    peer: table(
      {
        site: siteName('Name of the other site.'),
        address: address("The other site's `replication.listen` as this site reaches it."),
      },
      'The other site.',
    ),
    witness: Type.Optional(
      table(
        {
          name: siteName('Name of the witness, the same on both sites: its own `name`.'),
          address: address("The witness's `listen` as this site reaches it."),
        },
        'The third voter. Without it there are two, and the loss of the peer suspends I/O.',
      ),
    ),
    tls: tlsTable(),
    replication,
    register: registerTable,
    log,
    volumes,
    resync,
    suspend: table(
      {
        maxMs: integer(
          { min: 0, max: 7 * 24 * hour, standard: 0 },
          'How long requests are held while a volume cannot serve, before they fail with an I/O error; 0 holds them for ever.',
        ),
      },
      'What clients see while a volume cannot serve.',
    ),
    nbd,
    access: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' }),
        table(
          {
            write: accessList('Clients that may read and write the volume NAME.'),
            read: accessList('Clients that may read it: to them it is a read-only export.'),
          },
          'One volume.',
        ),
        {
          form: 'the name of a volume',
          description: 'Who may attach to a volume at this site; one without a table is open.',
        },
      ),
    ),
    api: apiTable(
      '127.0.0.1:9617',
      Type.Union([Type.Literal('read'), Type.Literal('operate')], {
        description:
          'What its bearer may do: look ("read"), or everything that the command can ("operate").',
      }),
      {
        bodyBytesMax: size(
          { min: '1KiB', max: '16MiB', standard: '64KiB' },
          'Largest request body that the API takes.',
        ),
      },
    ),
    logging: loggingTable(),
    events: table(
      {
        countMax: integer(
          { min: 100, max: 1_000_000, standard: 10_000 },
          'Events that are kept; the oldest are dropped.',
        ),
      },
      'The list of what happened (`casemate events`).',
    ),
  },
  'The configuration of one site.',
);

export type Config = Checked<typeof configSchema>;
