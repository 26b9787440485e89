/**
 * The documents of the pair protocol that are not hot: hello, welcome, release, refuse. Every field
 * is checked before the message is believed: outside data is validated here once, behind this file
 * its types are trusted. Unknown fields are refused too (one protocol version, no extensions).
 */
import type { HistoryPoint } from '../../wal/frame.ts';
import type { EpochEntry, GroupConfig, GroupFlags } from '../core/config.ts';
import type {
  HelloMessage,
  PairMessage,
  RefuseMessage,
  ReleaseMessage,
  WelcomeMessage,
} from '../core/messages.ts';
import { LinkFormatError, printable } from './errors.ts';
import { Fields } from './fields.ts';
import { packDocument, unpackDocument } from './msgpack.ts';

export type PairDocument = Exclude<PairMessage, { kind: 'ack' | 'heartbeat' }>;

export function encodePairDocument(message: PairDocument): Buffer {
  return packDocument(message);
}

/** @throws LinkFormatError naming the field that is wrong. */
export function decodePairDocument(bytes: Buffer): PairDocument {
  const fields = new Fields(unpackDocument(bytes), 'message');
  const kind = fields.text('kind', 16);
  switch (kind) {
    case 'hello':
      return fields.done(hello(fields));
    case 'welcome':
      return fields.done(welcome(fields));
    case 'release':
      return fields.done(release(fields));
    case 'refuse':
      return fields.done(refuse(fields));
    default:
      throw new LinkFormatError(`message: there is no kind "${printable(kind)}"`);
  }
}

function hello(fields: Fields): HelloMessage {
  return {
    kind: 'hello',
    storeId: fields.id('storeId'),
    groupId: fields.id('groupId'),
    config: fields.optional('config', config),
    epochHistory: fields.list('epochHistory', epochEntry),
    end: fields.child('end', historyPoint),
    checkpoint: fields.child('checkpoint', historyPoint),
    committedFloor: fields.number('committedFloor'),
    base: fields.optional('base', historyPoint),
    flags: fields.child('flags', groupFlags),
    logStart: fields.number('logStart'),
    volumes: fields.list('volumes', (volume) => ({
      volume: volume.number('volume'),
      sizeBytes: volume.number('sizeBytes'),
    })),
    staged: fields.optional('staged', (staged) => ({ from: staged.number('from') })),
    needsResync: fields.flag('needsResync'),
  };
}

function welcome(fields: Fields): WelcomeMessage {
  return {
    kind: 'welcome',
    config: fields.child('config', config),
    mode: fields.oneOf('mode', ['log', 'resync']),
    fork: fields.child('fork', historyPoint),
    end: fields.child('end', historyPoint),
    resync: fields.optional('resync', (resync) => ({
      common: resync.number('common'),
      base: resync.optional('base', historyPoint),
      epochHistory: resync.list('epochHistory', epochEntry),
    })),
  };
}

function release(fields: Fields): ReleaseMessage {
  return {
    kind: 'release',
    epoch: fields.number('epoch'),
    sequence: fields.number('sequence'),
    digest: fields.id('digest'),
    alone: fields.flag('alone'),
  };
}

function refuse(fields: Fields): RefuseMessage {
  return {
    kind: 'refuse',
    code: fields.oneOf('code', ['split', 'damaged', 'diverged', 'resync-needed']),
    text: printable(fields.text('text', 4096), 4096),
  };
}

function config(fields: Fields): GroupConfig {
  const forced = fields.optional('forced', historyPoint);
  const removed = fields.optionalFlag('removed');
  return {
    epoch: fields.number('epoch'),
    epochId: fields.id('epochId'),
    primary: fields.id('primary'),
    inSync: fields.ids('inSync'),
    acceptors: fields.ids('acceptors'),
    leaseMs: fields.number('leaseMs'),
    graceMs: fields.number('graceMs'),
    ...(forced === undefined ? {} : { forced }),
    ...(removed === undefined ? {} : { removed }),
  };
}

function epochEntry(fields: Fields): EpochEntry {
  return {
    epoch: fields.number('epoch'),
    epochId: fields.id('epochId'),
    firstSequence: fields.number('firstSequence'),
  };
}

function historyPoint(fields: Fields): HistoryPoint {
  return { sequence: fields.number('sequence'), digest: fields.id('digest') };
}

function groupFlags(fields: Fields): GroupFlags {
  return {
    inconsistent: fields.flag('inconsistent'),
    split: fields.flag('split'),
    damaged: fields.flag('damaged'),
    resolving: fields.flag('resolving'),
  };
}
