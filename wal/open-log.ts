/**
 * Opening the log: makes it when there is none, else recovers it (R30), and begins a new life in it
 * (see `entry-format.ts`). When this is done everything that recovery found is durable, what was
 * cut off can never be read again, and there is a place to write to.
 */
import { dirname, join } from 'node:path';
import { blockSizeBytes, crc32c } from './checksum.ts';
import type { Disk } from './disk.ts';
import {
  decodeSlotPage,
  encodeEntryHeader,
  encodeLifeStartBody,
  encodeSegmentHeader,
  entryHeaderBytes,
  entryKind,
  logFormatVersion,
  type SlotState,
  segmentHeaderBytes,
  storeCrcSeed,
} from './entry-format.ts';
import { LogError } from './errors.ts';
import type { GroupId, StoreId } from './frame.ts';
import { GroupRecovery, type LogMarks, noMarks } from './group-recovery.ts';
import { type FoundSegment, findSegmentNumber, LogScan, type ScanResult } from './log-scan.ts';
import { SegmentWindow } from './segment-window.ts';
import type { Segments, Slot } from './segments.ts';
import {
  finishSuperblock,
  readSuperblock,
  superblockName,
  unfinishedSuperblockName,
  writeUnfinishedSuperblock,
} from './superblock.ts';

export interface OpenLogOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly storeId: StoreId;
  readonly marks: ReadonlyMap<GroupId, LogMarks>;
}

/** What the directory holds, as far as its superblock tells. */
export type LogDirectory =
  | { readonly kind: 'new' }
  | { readonly kind: 'existing'; readonly segmentSizeBytes: number };

export interface OpenedLog {
  readonly groups: ReadonlyMap<GroupId, GroupRecovery>;
  /** Undefined if the log was made just now. */
  readonly scan: ScanResult | undefined;
  readonly life: number;
  readonly endLsn: number;
}

/** The first segment: position 0 is none, so that a zero never passes for a position. */
const firstSegmentNumber = 1;

/** Looks what is there; clears away a log whose making was cut short. Throws LogError. */
export async function inspectDirectory(options: OpenLogOptions): Promise<LogDirectory> {
  const { disk, directory, storeId } = options;
  await disk.makeDirectory(directory);
  const names = await disk.list(directory);
  if (names.includes(superblockName)) {
    const { segmentSizeBytes } = await readSuperblock(disk, directory, storeId);
    return { kind: 'existing', segmentSizeBytes };
  }
  const rest = names.filter((name) => name !== unfinishedSuperblockName);
  const unfinished = rest.length < names.length;
  if (!unfinished && rest.some((name) => name.startsWith('segment-'))) {
    throw new LogError(
      'ERR_LOG_SUPERBLOCK',
      `${directory} holds segments of a log, but no superblock`,
      {
        hint:
          'put the superblock back, or move the directory away: a blank log is made then, and the ' +
          'copies of this site count as damaged until they are anew from the peer, or forced',
      },
    );
  }
  for (const name of rest) {
    if (name.startsWith('segment-')) await disk.remove(join(directory, name));
  }
  return { kind: 'new' };
}

/** Makes a log. Throws LogError. */
export async function createLog(
  options: OpenLogOptions & { readonly segmentSizeBytes: number },
  segments: Segments,
): Promise<OpenedLog> {
  const { disk, directory, storeId, segmentSizeBytes } = options;
  const life = 1;
  let endLsn: number;
  try {
    await disk.syncDirectory(dirname(directory));
    await writeUnfinishedSuperblock(disk, directory, { storeId, segmentSizeBytes });
    const at = firstSegmentNumber * segmentSizeBytes;
    const slot = await segments.createSlot();
    endLsn = await beginSegment(segments, { storeId, slot, number: 1, previousEndLsn: at, life });
    await finishSuperblock(disk, directory);
  } catch (cause) {
    throw new LogError('ERR_LOG_CREATE', `the log could not be made: ${wordsOf(cause)}`, { cause });
  }
  const groups = recoveriesOf(options.marks);
  // There was one if anything is marked, and nothing tells what it held beyond that (R24).
  for (const [groupId, { checkpoint, acknowledgedMark }] of options.marks) {
    if (checkpoint.sequence === 0 && acknowledgedMark === 0) continue;
    groups.get(groupId)?.onLostForGood('the log was gone, and was made anew');
  }
  return { groups, scan: undefined, life, endLsn };
}

/** Recovers the log. Throws LogError; nothing of the log's content is changed then. */
export async function recoverLog(
  options: OpenLogOptions & { readonly segmentSizeBytes: number },
  segments: Segments,
): Promise<OpenedLog> {
  const found = await classifySlots(options, await segments.openSlots());
  const groups = recoveriesOf(options.marks);
  const everyGroup = (tell: (group: GroupRecovery) => void): void => groups.forEach(tell);
  const groupOf = (groupId: GroupId): GroupRecovery => {
    let group = groups.get(groupId);
    if (group === undefined) {
      group = new GroupRecovery(groupId, noMarks);
      groups.set(groupId, group);
    }
    return group;
  };
  const seed = storeCrcSeed(options.storeId);
  const { segmentSizeBytes } = options;
  const scan = await new LogScan(
    { segmentSizeBytes, seed, segments: found.segments },
    {
      onFrame: (frame, lsn) => groupOf(frame.groupId).onFrame(frame, lsn),
      onCut: (cut, lsn) => groupOf(cut.groupId).onCut(cut, lsn),
      onLost: ({ fromLsn, toLsn, groupId }) => {
        const words = `the log is damaged from position ${fromLsn} to ${toLsn}`;
        if (groupId === undefined) everyGroup((group) => group.onLost(words));
        else groupOf(groupId).onLost(words);
      },
    },
  ).run();
  for (const slot of found.unidentified) {
    const words = `${slot.name} has lost its header, and with it a part of the log`;
    everyGroup((group) => group.onLostForGood(words));
  }
  const started = await startLife(options, segments, { found, scan });
  return { groups, scan, ...started };
}

function recoveriesOf(marks: ReadonlyMap<GroupId, LogMarks>): Map<GroupId, GroupRecovery> {
  return new Map([...marks].map(([id, mark]) => [id, new GroupRecovery(id, mark)]));
}

interface FoundSlots {
  /** In order of their numbers. */
  readonly segments: readonly FoundSegment[];
  readonly unused: readonly Slot[];
  /** Damaged, and nothing in them tells what they held. They are left alone. */
  readonly unidentified: readonly Slot[];
}

async function classifySlots(
  options: OpenLogOptions & { readonly segmentSizeBytes: number },
  slots: readonly Slot[],
): Promise<FoundSlots> {
  const segments = new Map<number, FoundSegment>();
  const unused: Slot[] = [];
  const headless: { readonly slot: Slot; readonly kind: 'empty' | 'damaged' }[] = [];
  for (const slot of slots) {
    const state = await slotState(slot, options.storeId);
    if (state.kind === 'blank') unused.push(slot);
    else if (state.kind === 'unknown-version') throw unknownVersion(slot, state.version);
    else if (state.kind !== 'segment') headless.push({ slot, kind: state.kind });
    else addSegment(segments, { number: state.header.number, slot, header: state.header });
  }
  // Entries in a slot without a header: its first use was torn, or the header is lost.
  const unidentified: Slot[] = [];
  const seed = storeCrcSeed(options.storeId);
  const { segmentSizeBytes } = options;
  const window = new SegmentWindow(segmentSizeBytes);
  for (const { slot, kind } of headless) {
    const number = await findSegmentNumber(window, slot, { segmentSizeBytes, seed });
    if (number !== undefined && !segments.has(number)) {
      segments.set(number, { number, slot, header: undefined });
    } else if (kind === 'empty' && number === undefined) unused.push(slot);
    else unidentified.push(slot);
  }
  if (segments.size === 0) {
    throw new LogError('ERR_LOG_SEGMENTS_MISSING', `${options.directory} has no segment to read`, {
      hint: 'put the segment files back, or join this site anew as a blank one',
    });
  }
  const inOrder = [...segments.values()].sort((left, right) => left.number - right.number);
  return { segments: inOrder, unused, unidentified };
}

function addSegment(segments: Map<number, FoundSegment>, segment: FoundSegment): void {
  const other = segments.get(segment.number);
  if (other !== undefined) {
    throw new LogError(
      'ERR_LOG_DAMAGED',
      `${other.slot.name} and ${segment.slot.name} both say that they hold segment ` +
        `${segment.number}`,
      { hint: 'one of them was copied there; move it away' },
    );
  }
  segments.set(segment.number, segment);
}

async function slotState(slot: Slot, storeId: StoreId): Promise<SlotState> {
  const page = Buffer.alloc(segmentHeaderBytes);
  try {
    await slot.file.read(page, 0, 'read-log');
  } catch (cause) {
    throw new LogError('ERR_LOG_UNREADABLE', `the log cannot be read: ${slot.name}`, { cause });
  }
  return decodeSlotPage(page, storeId);
}

function unknownVersion(slot: Slot, version: number): LogError {
  return new LogError(
    'ERR_LOG_UNKNOWN_VERSION',
    `${slot.name} has format version ${version}, this program knows version ${logFormatVersion}`,
    { hint: 'run the version of the program that wrote it' },
  );
}

/**
 * Makes durable what was found (a killed process may have left writes in the page cache only), does
 * away with what lies beyond the end, and writes the life start.
 */
async function startLife(
  options: OpenLogOptions & { readonly segmentSizeBytes: number },
  segments: Segments,
  recovered: { readonly found: FoundSlots; readonly scan: ScanResult },
): Promise<{ life: number; endLsn: number }> {
  const { found, scan } = recovered;
  const { storeId } = options;
  try {
    // Only the last write can be unsynced, and it lies in the last segment.
    await scan.used.at(-1)?.slot.file.sync('append-log');
    for (const { number, slot } of scan.used) segments.addLive(number, slot);
    for (const { number, slot } of scan.leftovers) {
      await segments.wipe(slot, number);
      await segments.addSpare(slot);
    }
    for (const slot of found.unused) await segments.addSpare(slot);
    for (const slot of found.unidentified) await segments.closeSlot(slot);
    return await writeLifeStart(storeId, segments, scan);
  } catch (cause) {
    if (cause instanceof LogError) throw cause;
    throw new LogError('ERR_LOG_WRITE_FAILED', `the log can't be written: ${wordsOf(cause)}`, {
      cause,
    });
  }
}

async function writeLifeStart(
  storeId: StoreId,
  segments: Segments,
  scan: ScanResult,
): Promise<{ life: number; endLsn: number }> {
  const life = scan.life + 1;
  const current = segments.live.at(-1);
  if (current === undefined) throw new RangeError('recovery leaves a segment to write to');
  const { segmentSizeBytes } = segments;
  if (scan.endLsn + blockSizeBytes <= current.baseLsn + segmentSizeBytes) {
    const entry = lifeStartEntry(storeId, { lsn: scan.endLsn, syncedLsn: scan.endLsn, life });
    await current.slot.file.write(entry, scan.endLsn % segmentSizeBytes, 'append-log');
    return { life, endLsn: scan.endLsn + blockSizeBytes };
  }
  // Beyond the limit by one, if need be: without a place to write nothing could ever be freed.
  const slot = segments.takeSpare(true) ?? (await segments.createSlot());
  const number = current.number + 1;
  const previousEndLsn = scan.endLsn;
  return {
    life,
    endLsn: await beginSegment(segments, { storeId, slot, number, previousEndLsn, life }),
  };
}

/** Writes a segment's header and, in it, a life start. Gives where the next entry goes. */
async function beginSegment(
  segments: Segments,
  start: {
    readonly storeId: StoreId;
    readonly slot: Slot;
    readonly number: number;
    readonly previousEndLsn: number;
    readonly life: number;
  },
): Promise<number> {
  const { storeId, slot, number, previousEndLsn, life } = start;
  const { baseLsn } = segments.addLive(number, slot);
  const lsn = baseLsn + segmentHeaderBytes;
  const header = encodeSegmentHeader(storeId, { number, previousEndLsn, life: life - 1 });
  const entry = lifeStartEntry(storeId, { lsn, syncedLsn: previousEndLsn, life });
  await slot.file.write([header, ...entry], 0, 'append-log');
  return lsn + blockSizeBytes;
}

function lifeStartEntry(
  storeId: StoreId,
  start: { readonly lsn: number; readonly syncedLsn: number; readonly life: number },
): Buffer[] {
  const seed = storeCrcSeed(storeId);
  const body = encodeLifeStartBody(start.life - 1);
  const page = Buffer.alloc(blockSizeBytes);
  body.copy(page, entryHeaderBytes);
  const bodyCrc = crc32c(body, seed);
  const kind = entryKind.lifeStart;
  encodeEntryHeader(page, { ...start, kind, bodyBytes: body.length, bodyCrc }, seed);
  return [page];
}

function wordsOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
