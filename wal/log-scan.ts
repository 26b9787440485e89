/**
 * Reads the whole log once, in order, at start-up, and tells a visitor what is in it. It decides,
 * by `recovery.ts`, where the log ends; it keeps no state of groups and changes nothing.
 */
import { blockSizeBytes, crc32c } from './checksum.ts';
import {
  type CutBody,
  claimedLsn,
  cutBodyBytes,
  decodeCutBody,
  decodeEntryHeader,
  decodeLifeStartBody,
  type EntryHeader,
  entryHeaderBytes,
  entryKind,
  entrySizeBytes,
  lifeStartBodyBytes,
  type SegmentHeader,
  segmentHeaderBytes,
} from './entry-format.ts';
import type { Frame, GroupId } from './frame.ts';
import {
  decodeFrame,
  decodeFrameHead,
  FrameFormatError,
  frameSizeBytesMax,
} from './frame-format.ts';
import { judgePlace } from './recovery.ts';
import { SegmentWindow } from './segment-window.ts';
import type { Slot } from './segments.ts';

/** A slot that holds a segment; `header` is missing if it was found by its entries only. */
export interface FoundSegment {
  readonly number: number;
  readonly slot: Slot;
  readonly header: SegmentHeader | undefined;
}

/** A bad place in the middle of the log, and where reading went on. */
export interface LostRange {
  readonly fromLsn: number;
  readonly toLsn: number;
  /** Whose frame was there, if its head can still be read. */
  readonly groupId: GroupId | undefined;
  /** The life of what was there; undefined if another one begins within, or none is known. */
  readonly life: number | undefined;
}

export interface ScanVisitor {
  onFrame(frame: Frame, lsn: number): void;
  onCut(cut: CutBody, lsn: number): void;
  onLost(lost: LostRange): void;
}

export interface ScanOptions {
  readonly segmentSizeBytes: number;
  readonly seed: number;
  /** In order of their numbers, at least one. */
  readonly segments: readonly FoundSegment[];
}

export interface ScanResult {
  /** Where the next entry goes. */
  readonly endLsn: number;
  /** The life that the end belongs to. */
  readonly life: number;
  /** Segments that hold content, in order; the last one holds `endLsn - 1`. */
  readonly used: readonly FoundSegment[];
  /** Slots that hold something beyond the end, which counts for nothing. */
  readonly leftovers: readonly FoundSegment[];
  readonly entries: number;
  /** Something was written at the end, and is cut off. */
  readonly tornTail: boolean;
  readonly lost: readonly LostRange[];
  readonly readBytes: number;
}

type Body =
  | { readonly kind: 'frame'; readonly frame: Frame }
  | { readonly kind: 'cut'; readonly cut: CutBody }
  | { readonly kind: 'lifeStart'; readonly previousLife: number };

/** Where reading could go on after a bad place, and the life that is entered there. */
interface ResumePlace {
  readonly place: number;
  readonly lsn: number;
  readonly life: number;
}

interface Beyond {
  readonly proven: boolean;
  /** There is a valid entry header, of whatever life: a write was cut short here. */
  readonly somethingThere: boolean;
  readonly resume: ResumePlace | undefined;
}

export class LogScan {
  readonly #options: ScanOptions;
  readonly #visitor: ScanVisitor;
  readonly #window: SegmentWindow;
  readonly #segments: readonly FoundSegment[];
  readonly #lost: LostRange[] = [];
  #place = 0;
  #lsn = 0;
  #life = 0;
  #entries = 0;
  #tornTail = false;

  constructor(options: ScanOptions, visitor: ScanVisitor) {
    this.#options = options;
    this.#visitor = visitor;
    this.#window = new SegmentWindow(options.segmentSizeBytes);
    this.#segments = options.segments;
  }

  /** Reads everything. Throws LogError if the disk does not give the bytes. */
  async run(): Promise<ScanResult> {
    const first = this.#segment;
    this.#lsn = this.#contentStart(first);
    this.#life = first.header?.life ?? 0;
    let goesOn = true;
    if (first.header === undefined) goesOn = await this.#beginWithoutHeader();
    while (goesOn) goesOn = await this.#step();
    return {
      endLsn: this.#lsn,
      life: this.#life,
      used: this.#segments.slice(0, this.#place + 1),
      leftovers: this.#segments.slice(this.#place + 1),
      entries: this.#entries,
      tornTail: this.#tornTail,
      lost: this.#lost,
      readBytes: this.#window.readBytes,
    };
  }

  /** The first segment's header is lost, and its life with it: reads on from its first entry. */
  async #beginWithoutHeader(): Promise<boolean> {
    const fromLsn = this.#lsn;
    this.#lsn -= blockSizeBytes;
    const { resume } = await this.#lookBeyond(undefined);
    this.#lsn = fromLsn;
    const goesOn = this.#resumeAt(resume);
    this.#addLost({ fromLsn, toLsn: this.#lsn, groupId: undefined, life: undefined });
    return goesOn;
  }

  #addLost(lost: LostRange): void {
    this.#lost.push(lost);
    this.#visitor.onLost(lost);
  }

  get #segment(): FoundSegment {
    const segment = this.#segments[this.#place];
    if (segment === undefined) throw new RangeError('the scan is within the segments');
    return segment;
  }

  #contentStart(segment: FoundSegment): number {
    return segment.number * this.#options.segmentSizeBytes + segmentHeaderBytes;
  }

  #endOf(segment: FoundSegment): number {
    return (segment.number + 1) * this.#options.segmentSizeBytes;
  }

  /** Takes the entry at the current place, or finds out what its absence means. */
  async #step(): Promise<boolean> {
    const header = await this.#headerAt(this.#segment, this.#lsn);
    const body = header === undefined ? undefined : await this.#bodyOf(header);
    if (header === undefined || body === undefined || !this.#lifeFits(header, body)) {
      return this.#onBadPlace(header);
    }
    if (body.kind === 'frame') this.#visitor.onFrame(body.frame, this.#lsn);
    else if (body.kind === 'cut') this.#visitor.onCut(body.cut, this.#lsn);
    this.#life = header.life;
    this.#lsn += entrySizeBytes(header.bodyBytes);
    this.#entries += 1;
    return true;
  }

  #lifeFits(header: EntryHeader, body: Body): boolean {
    if (body.kind !== 'lifeStart') return header.life === this.#life;
    return body.previousLife === this.#life && header.life > this.#life;
  }

  async #headerAt(segment: FoundSegment, lsn: number): Promise<EntryHeader | undefined> {
    if (lsn + blockSizeBytes > this.#endOf(segment)) return undefined;
    const bytes = await this.#bytesAt(segment.slot, lsn, entryHeaderBytes);
    return decodeEntryHeader(bytes, lsn, this.#options.seed);
  }

  async #bytesAt(slot: Slot, lsn: number, lengthBytes: number): Promise<Buffer> {
    const offset = lsn % this.#options.segmentSizeBytes;
    this.#window.use(slot.file);
    return this.#window.view(offset, lengthBytes) ?? (await this.#window.load(offset, lengthBytes));
  }

  /** The checked body of the entry at the current place; undefined if it is bad. */
  async #bodyOf(header: EntryHeader): Promise<Body | undefined> {
    const { bodyBytes } = header;
    if (bodyBytes > frameSizeBytesMax) return undefined;
    if (header.lsn + entrySizeBytes(bodyBytes) > this.#endOf(this.#segment)) return undefined;
    const from = header.lsn + entryHeaderBytes;
    const bytes = await this.#bytesAt(this.#segment.slot, from, bodyBytes);
    if (header.kind === entryKind.frame) {
      const frame = frameOf(bytes);
      return frame === undefined ? undefined : { kind: 'frame', frame };
    }
    if (crc32c(bytes, this.#options.seed) !== header.bodyCrc) return undefined;
    if (header.kind === entryKind.cut) {
      const cut = bodyBytes === cutBodyBytes ? decodeCutBody(bytes) : undefined;
      return cut === undefined ? undefined : { kind: 'cut', cut };
    }
    const previousLife = bodyBytes === lifeStartBodyBytes ? decodeLifeStartBody(bytes) : undefined;
    return previousLife === undefined ? undefined : { kind: 'lifeStart', previousLife };
  }

  /** No valid entry is here: goes on elsewhere (true), or the log ends here (false). */
  async #onBadPlace(header: EntryHeader | undefined): Promise<boolean> {
    const next = this.#segments[this.#place + 1];
    const nextSegmentContinues =
      next !== undefined &&
      next.number === this.#segment.number + 1 &&
      next.header?.previousEndLsn === this.#lsn &&
      next.header.life === this.#life;
    const evidence = nextSegmentContinues ? undefined : await this.#lookBeyond(header);
    const verdict = judgePlace({
      entryValid: false,
      nextSegmentContinues,
      laterProvesSynced: evidence?.proven ?? false,
    });
    if (verdict === 'next-segment') {
      this.#place += 1;
      this.#lsn = this.#contentStart(this.#segment);
      return true;
    }
    if (verdict !== 'damage') {
      this.#tornTail = evidence?.somethingThere ?? false;
      return false;
    }
    const groupId = header === undefined ? undefined : await this.#groupOf(header);
    const fromLsn = this.#lsn;
    const lifeBefore = this.#life;
    const goesOn = this.#resumeAt(evidence?.resume);
    const life = this.#life === lifeBefore ? lifeBefore : undefined;
    this.#addLost({ fromLsn, toLsn: this.#lsn, groupId, life });
    return goesOn;
  }

  /** Goes on at the first entry found after a bad place; without one, the log ends here. */
  #resumeAt(resume: ResumePlace | undefined): boolean {
    if (resume === undefined) return false;
    this.#place = resume.place;
    this.#lsn = resume.lsn;
    // Everything below what is proven durable is of the living branch, so its life counts.
    this.#life = resume.life;
    return true;
  }

  /** Whose frame is lost, if its head is still right. */
  async #groupOf(header: EntryHeader): Promise<GroupId | undefined> {
    if (header.kind !== entryKind.frame || header.life !== this.#life) return undefined;
    const room = this.#endOf(this.#segment) - header.lsn - entryHeaderBytes;
    const lengthBytes = Math.min(header.bodyBytes, room, frameSizeBytesMax);
    const from = header.lsn + entryHeaderBytes;
    const bytes = await this.#bytesAt(this.#segment.slot, from, lengthBytes);
    try {
      return decodeFrameHead(bytes).groupId;
    } catch (error) {
      if (error instanceof FrameFormatError) return undefined;
      throw error;
    }
  }

  /**
   * Looks at everything after the current place: is there proof that the log was durable beyond
   * it, and what is the first place from which reading could go on?
   */
  async #lookBeyond(header: EntryHeader | undefined): Promise<Beyond> {
    let proven = false;
    let somethingThere = header !== undefined;
    let resume: ResumePlace | undefined;
    const skipped = header === undefined ? blockSizeBytes : entrySizeBytes(header.bodyBytes);
    let lsn = this.#lsn + skipped;
    for (let place = this.#place; place < this.#segments.length; place += 1) {
      const segment = this.#segments[place];
      if (segment === undefined) break;
      if (place > this.#place) {
        lsn = this.#contentStart(segment);
        if ((segment.header?.previousEndLsn ?? 0) > this.#lsn) {
          proven = true;
          resume ??= { place, lsn, life: segment.header?.life ?? 0 };
        }
      }
      for (; lsn < this.#endOf(segment); lsn += blockSizeBytes) {
        if (proven && resume !== undefined) return { proven, somethingThere, resume };
        const entry = await this.#headerAt(segment, lsn);
        if (entry === undefined) continue;
        somethingThere = true;
        resume ??= { place, lsn, life: lifeBefore(entry) };
        if (entry.syncedLsn > this.#lsn) proven = true;
      }
    }
    return { proven, somethingThere, resume };
  }
}

/** A life that lets `header` be read, whether it starts a life or goes on with one. */
function lifeBefore(header: EntryHeader): number {
  return header.kind === entryKind.lifeStart ? header.life - 1 : header.life;
}

function frameOf(bytes: Buffer): Frame | undefined {
  try {
    return decodeFrame([bytes]);
  } catch (error) {
    if (error instanceof FrameFormatError) return undefined;
    throw error;
  }
}

/**
 * The segment that a slot without a header held last, by the positions that its entries claim;
 * undefined if it has none. Throws LogError if it can't be read.
 */
export async function findSegmentNumber(
  window: SegmentWindow,
  slot: Slot,
  options: { readonly segmentSizeBytes: number; readonly seed: number },
): Promise<number | undefined> {
  const { segmentSizeBytes, seed } = options;
  let newest: number | undefined;
  window.use(slot.file);
  for (let at = segmentHeaderBytes; at < segmentSizeBytes; at += blockSizeBytes) {
    const bytes = window.view(at, entryHeaderBytes) ?? (await window.load(at, entryHeaderBytes));
    const lsn = claimedLsn(bytes, seed);
    if (lsn === undefined || lsn % segmentSizeBytes !== at) continue;
    newest = Math.max(newest ?? 0, Math.floor(lsn / segmentSizeBytes));
  }
  return newest;
}
