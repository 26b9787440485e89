/**
 * What goes in and out of the HTTP API: the shapes of `daemon/site-status.ts` as TypeBox schemas.
 * Requests are checked against them, the OpenAPI document is made of them, and the command line
 * checks answers with them.
 */
import { type Static, Type } from '@sinclair/typebox';

const text = Type.String();
const count = Type.Integer({ minimum: 0 });
const timeMs = Type.Number({ description: 'Milliseconds since 1970.' });
const historyPoint = Type.Object({
  sequence: count,
  digest: Type.String({ description: 'Digest of all records up to the sequence.' }),
});
const onPeerLoss = Type.Union([Type.Literal('suspend'), Type.Literal('preferred')]);

export const errorSchema = Type.Object({
  code: Type.String({ description: 'Stable; for programs.' }),
  message: Type.String({ description: 'What was wrong; for people.' }),
  hint: Type.Optional(Type.String({ description: 'What to do about it.' })),
});

export const volumeStatusSchema = Type.Object({
  name: text,
  group: text,
  sizeBytes: count,
  allocatedBytes: count,
  clientConnections: count,
  exportUri: Type.Array(text),
  unreadable: Type.Array(Type.Object({ offsetBytes: count, lengthBytes: count })),
  unreadableBytes: count,
});

const waitSchema = Type.Object({
  code: text,
  text,
  sinceMs: timeMs,
  clears: text,
  command: Type.Optional(text),
});

const splitSideSchema = Type.Object({
  site: text,
  epoch: count,
  end: Type.Integer({ minimum: 0, description: 'Its newest record.' }),
  since: Type.Optional(
    Type.Integer({ minimum: 0, description: 'The last record that it knows to be on both sites.' }),
  ),
  changedBytes: count,
  volumes: Type.Array(
    Type.Object({
      name: text,
      extents: Type.Array(Type.Object({ offsetBytes: count, lengthBytes: count })),
      leftOutBytes: Type.Integer({ minimum: 0, description: 'Of parts that are not listed.' }),
    }),
  ),
});

export const groupStatusSchema = Type.Object({
  id: text,
  name: text,
  role: Type.Union([Type.Literal('primary'), Type.Literal('secondary'), Type.Literal('none')]),
  primarySite: Type.Optional(text),
  inSyncSites: Type.Array(text),
  epoch: count,
  voters: Type.Array(text),
  onPeerLoss,
  preferredSite: Type.Optional(text),
  serves: Type.Boolean(),
  wait: Type.Optional(waitSchema),
  peer: Type.Object({
    state: Type.Union([
      Type.Literal('disconnected'),
      Type.Literal('handshaking'),
      Type.Literal('catching-up'),
      Type.Literal('resyncing'),
      Type.Literal('waited-for'),
      Type.Literal('in-sync'),
      Type.Literal('refused'),
    ]),
    text,
    remainingRecords: count,
  }),
  resync: Type.Optional(
    Type.Object({
      direction: Type.Union([Type.Literal('to-here'), Type.Literal('from-here')]),
      full: Type.Boolean({ description: 'Everything is compared, not only what has changed.' }),
      inPlace: Type.Boolean({ description: 'There is no old image to go back to.' }),
      doneBytes: count,
      totalBytes: count,
      rateBytes: Type.Number({ minimum: 0, description: 'Bytes per second at the moment.' }),
      secondsLeft: Type.Optional(Type.Number({ minimum: 0 })),
    }),
  ),
  split: Type.Optional(
    Type.Object(
      {
        givenUp: Type.Optional(text),
        here: splitSideSchema,
        there: Type.Optional(splitSideSchema),
      },
      { description: 'What each site has changed since both were the same.' },
    ),
  ),
  inSync: Type.Boolean(),
  end: historyPoint,
  commit: count,
  applied: count,
  checkpoint: historyPoint,
  checkpointAtMs: timeMs,
  unacknowledgedBytes: count,
  applyBacklogBytes: count,
  heldRequests: count,
  lastOnBothSitesMs: Type.Optional(timeMs),
  suspendedMsTotal: Type.Number({ minimum: 0 }),
  volumes: Type.Array(volumeStatusSchema),
});

export const siteStatusSchema = Type.Object({
  site: text,
  cluster: text,
  version: text,
  storeId: text,
  startedAtMs: timeMs,
  nowMs: timeMs,
  peer: Type.Object({
    name: text,
    address: text,
    connected: Type.Boolean(),
    sinceMs: timeMs,
    roundTripMs: Type.Optional(Type.Number()),
    problem: Type.Optional(text),
  }),
  register: Type.Object({
    type: Type.Union([Type.Literal('sites'), Type.Literal('etcd')]),
    reachable: Type.Optional(Type.Boolean()),
    text,
  }),
  witness: Type.Optional(
    Type.Object({
      name: text,
      address: text,
      connected: Type.Boolean(),
      sinceMs: timeMs,
      lastAnswerMs: Type.Optional(timeMs),
      roundTripMs: Type.Optional(Type.Number()),
      problem: Type.Optional(text),
    }),
  ),
  witnessDifference: Type.Optional(text),
  certificates: Type.Optional(
    Type.Array(
      Type.Object({
        certificate: Type.Union([Type.Literal('own'), Type.Literal('authority')]),
        path: text,
        expiresAtMs: timeMs,
      }),
    ),
  ),
  log: Type.Object({
    sizeBytes: count,
    limitBytes: count,
    usedBytes: count,
    failed: Type.Optional(text),
    recovery: text,
  }),
  groups: Type.Array(groupStatusSchema),
  problems: Type.Array(Type.Object({ code: text, text })),
});

export const eventsSchema = Type.Object({
  events: Type.Array(
    Type.Object({
      number: count,
      atMs: timeMs,
      level: Type.Union([Type.Literal('info'), Type.Literal('warn'), Type.Literal('error')]),
      code: text,
      group: Type.Optional(text),
      text,
      by: Type.Optional(
        Type.Object(
          {
            who: text,
            role: Type.Union([Type.Literal('read'), Type.Literal('operate'), Type.Literal('none')]),
            from: text,
          },
          { description: 'Who asked for it, where somebody did.' },
        ),
      ),
    }),
    { description: 'Newest first.' },
  ),
});

export const volumeListSchema = Type.Object({ volumes: Type.Array(volumeStatusSchema) });

/** A volume with all that is known of its group. */
export const volumeDetailSchema = Type.Object({
  volume: volumeStatusSchema,
  group: groupStatusSchema,
});

export const evidenceSchema = Type.Object({
  volume: text,
  group: text,
  thisSite: text,
  lastCommon: historyPoint,
  lastCommonAtMs: Type.Optional(timeMs),
  ownEnd: historyPoint,
  inSyncHere: Type.Boolean(),
  peerReachable: Type.Boolean(),
  peerMayHaveAcknowledgedMore: Type.Boolean(),
  warnings: Type.Array(text),
  confirmation: Type.String({ description: 'To be sent back with the promotion.' }),
});

export const readinessSchema = Type.Object({
  ready: Type.Boolean(),
  problems: Type.Optional(
    Type.Array(Type.Object({ code: text, group: Type.Optional(text), text }), {
      description: 'Only for who may read: not without a token, where there are tokens.',
    }),
  ),
});

export const whySchema = Type.Object({
  groups: Type.Array(
    Type.Object({
      group: text,
      volumes: Type.Array(text),
      serves: Type.Boolean(),
      text: Type.String({ description: 'How it stands, in one sentence.' }),
      command: Type.Optional(Type.String({ description: 'A command that is safe now.' })),
    }),
  ),
});

// --- requests: nothing beyond what is named here is taken

const strict = { additionalProperties: false };

export const nameParametersSchema = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 255, description: 'Name of the volume.' }) },
  strict,
);

export const eventsQuerySchema = Type.Object(
  { limit: Type.Integer({ minimum: 1, maximum: 10_000, default: 100 }) },
  strict,
);

const sizeBytes = Type.Integer({
  minimum: 512,
  maximum: Number.MAX_SAFE_INTEGER,
  multipleOf: 512,
});

export const createVolumeSchema = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 255 }),
    sizeBytes,
    group: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    onPeerLoss: Type.Optional(onPeerLoss),
    preferredSite: Type.Optional(Type.String({ minLength: 1, maxLength: 63 })),
  },
  strict,
);

export const resizeVolumeSchema = Type.Object({ sizeBytes }, strict);

export const promotionSchema = Type.Object(
  { confirmation: Type.String({ minLength: 1, maxLength: 255 }) },
  strict,
);

export const resolveSchema = Type.Object(
  {
    drop: Type.String({
      minLength: 1,
      maxLength: 63,
      description: 'The site whose changes since the split are given up.',
    }),
  },
  strict,
);

export const resolvedSchema = Type.Object({
  site: text,
  directory: Type.String({ description: 'Where that site keeps what it had changed.' }),
  done: Type.Boolean({ description: 'That is there; otherwise it is being copied.' }),
});

export type VolumeAnswer = Static<typeof volumeStatusSchema>;
export type GroupAnswer = Static<typeof groupStatusSchema>;
export type StatusAnswer = Static<typeof siteStatusSchema>;
export type EventsAnswer = Static<typeof eventsSchema>;
export type EvidenceAnswer = Static<typeof evidenceSchema>;
export type WhyAnswer = Static<typeof whySchema>;
