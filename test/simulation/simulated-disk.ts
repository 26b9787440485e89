/**
 * A disk in memory that behaves as badly as a real one may, repeatably from a seed:
 *
 * - every call waits in a list; `completeOne` picks one at random and carries out its next step, so
 *   that calls overlap and end in any order, and writes are half done for a while;
 * - what was not synced survives a crash in any subset of its sectors, names too;
 * - calls can be made to fail, by purpose and count, or be held back; stored bits can rot.
 *
 * Nothing happens by itself: call `completeOne` (synchronous), `step`, `run` or `settle`, or make
 * the disk with `runsByItself` for tests that only want a disk. After `crash` the old object is
 * dead (its calls never complete) and the new one has what survived.
 *
 * The content of files is in `simulated-pages.ts`.
 */
import nodePath from 'node:path';
import type { Disk, DiskFile, OpenOptions } from '../../wal/disk.ts';
import { DiskError, type DiskOperation } from '../../wal/disk-error.ts';
import type { SeededRandom } from './seeded-random.ts';
import { type DiskFault, DiskFaults } from './simulated-disk-faults.ts';
import { SimulatedFile } from './simulated-file.ts';
import { SimulatedPages, type Survival } from './simulated-pages.ts';

export interface SimulatedDiskOptions {
  readonly random: SeededRandom;
  /** Calls complete without being driven, in random order, one for each turn of the event loop. */
  readonly runsByItself?: boolean;
  /** How often a read that could be served from the page cache has to wait. Default 0.2. */
  readonly coldReadProbability?: number;
}

/** A call under way: what it still has to do, step by step, and how it ends. */
interface PendingCall {
  readonly operation: DiskOperation;
  readonly steps: (() => void)[];
  readonly finish: () => void;
}

interface NameChange {
  readonly directory: string;
  readonly undoNames: readonly [string, SimulatedPages | 'directory' | undefined][];
}

type Entry = SimulatedPages | 'directory';

export class SimulatedDisk implements Disk {
  readonly #random: SeededRandom;
  readonly #options: SimulatedDiskOptions;
  readonly #entries = new Map<string, Entry>();
  #nameChanges: NameChange[] = [];
  #pending: PendingCall[] = [];
  readonly #faults = new DiskFaults();
  readonly #held = new Set<DiskOperation>();
  #changeId = 0;
  #dead = false;
  #observed = false;
  #scheduled = false;

  constructor(options: SimulatedDiskOptions) {
    this.#random = options.random;
    this.#options = options;
  }

  // ---- driving it ----

  get pendingCalls(): number {
    return this.#pending.length;
  }

  /** Carries out one step of one random call. False: nothing could be done. */
  completeOne(): boolean {
    const runnable =
      this.#held.size === 0
        ? this.#pending
        : this.#pending.filter((call) => !this.#held.has(call.operation));
    if (runnable.length === 0) return false;
    const call = this.#random.pick(runnable);
    const next = call.steps.shift();
    if (next !== undefined) next();
    else {
      this.#pending.splice(this.#pending.indexOf(call), 1);
      call.finish();
    }
    return true;
  }

  /** `completeOne`, and then everything that follows from it without the disk. */
  async step(): Promise<boolean> {
    const done = this.completeOne();
    await turn();
    return done;
  }

  /** Steps until the promise is settled; rejects as it does, or if the disk has nothing to do. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await turn();
    for (let idleTurns = 0; !settled; idleTurns += 1) {
      if (await this.step()) idleTurns = 0;
      if (idleTurns > 1000) throw new Error('the simulated disk has nothing left to do');
    }
    return promise;
  }

  /** Steps until there is nothing left to do. */
  async settle(): Promise<void> {
    await turn();
    for (let idleTurns = 0; idleTurns < 3; idleTurns += 1) if (await this.step()) idleTurns = 0;
  }

  /** Makes matching calls fail. */
  inject(fault: DiskFault): void {
    this.#faults.arm(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  /** Calls of this kind make no progress until `release`. */
  hold(operation: DiskOperation): void {
    this.#held.add(operation);
  }

  release(operation: DiskOperation): void {
    this.#held.delete(operation);
    this.#schedule();
  }

  /** Bit rot: flips the bits of `mask` in one byte of a file, silently. */
  corrupt(path: string, offsetBytes: number, mask = 1): void {
    this.#fileAt(path, 'open').corrupt(offsetBytes, mask);
  }

  /** A copy of what programs see of the file at this moment. */
  contentOf(path: string): Buffer {
    const pages = this.#fileAt(path, 'open');
    const content = Buffer.alloc(pages.sizeBytes);
    pages.read(content, 0);
    return content;
  }

  /** All files there are. */
  files(): { readonly path: string; readonly sizeBytes: number }[] {
    const found: { path: string; sizeBytes: number }[] = [];
    for (const [path, entry] of this.#entries) {
      if (entry !== 'directory') found.push({ path, sizeBytes: entry.sizeBytes });
    }
    return found;
  }

  /** Whatever is read in it is in the page cache, and no dice are thrown: nothing changes by it. */
  observe<Result>(look: () => Result): Result {
    this.#observed = true;
    try {
      return look();
    } finally {
      this.#observed = false;
    }
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  /** Cuts the power. This object is dead from now on; the new one has what survived. */
  crash(survival?: Survival, options: Partial<SimulatedDiskOptions> = {}): SimulatedDisk {
    this.#dead = true;
    this.#pending = [];
    const how = survival ?? this.#random.pick(['any', 'any', 'nothing', 'latest'] as const);
    this.#loseNames(how);
    const survivor = new SimulatedDisk({ ...this.#options, ...options });
    for (const [path, entry] of this.#entries) {
      if (!this.#hasParent(path)) continue;
      const left = entry === 'directory' ? entry : entry.survive(this.#random, how);
      survivor.#entries.set(path, left);
    }
    return survivor;
  }

  // ---- the disk port ----

  open(path: string, options: OpenOptions): Promise<DiskFile> {
    return this.#call('open', path, [], () => {
      let entry = this.#entries.get(path);
      if (entry === undefined) {
        if (!options.create || !this.#hasParent(path)) throw new DiskError('ENOENT', path, 'open');
        entry = new SimulatedPages();
        this.#changeNames(path, [[path, entry]]);
      }
      if (entry === 'directory') throw new DiskError('EISDIR', path, 'open');
      return new SimulatedFile(this, path, entry, options.durableWrites, this.#random);
    });
  }

  list(directory: string): Promise<string[]> {
    return this.#call('list', directory, [], () => {
      const names: string[] = [];
      for (const path of this.#entries.keys()) {
        if (nodePath.dirname(path) === directory && path !== directory) {
          names.push(nodePath.basename(path));
        }
      }
      return names.sort();
    });
  }

  makeDirectory(path: string): Promise<void> {
    return this.#call('make-directory', path, [], () => {
      const missing: string[] = [];
      for (let at = path; at !== nodePath.dirname(at); at = nodePath.dirname(at)) {
        if (!this.#entries.has(at)) missing.unshift(at);
      }
      for (const directory of missing) this.#changeNames(directory, [[directory, 'directory']]);
    });
  }

  remove(path: string): Promise<void> {
    return this.#call('remove', path, [], () => {
      this.#fileAt(path, 'remove');
      this.#changeNames(path, [[path, undefined]]);
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call('rename', from, [], () => {
      const file = this.#fileAt(from, 'rename');
      this.#changeNames(to, [
        [from, undefined],
        [to, file],
      ]);
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.#call('sync-directory', path, [], () => {
      this.#nameChanges = this.#nameChanges.filter((change) => change.directory !== path);
    });
  }

  // ---- for SimulatedFile ----

  nextChangeId(): number {
    this.#changeId += 1;
    return this.#changeId;
  }

  get lastChangeId(): number {
    return this.#changeId;
  }

  /** A read need not wait now: a dice throw, and never on a dead disk. */
  isCached(): boolean {
    if (this.#observed) return !this.#dead;
    return !this.#dead && !this.#random.chance(this.#options.coldReadProbability ?? 0.2);
  }

  /**
   * Queues a call. An injected fault lets a random number of its steps happen, then fails it;
   * `onFault` is told in the moment of failing.
   */
  call<T>(
    operation: DiskOperation,
    path: string,
    steps: readonly (() => void)[],
    finish: () => T,
    onFault?: () => void,
  ): Promise<T> {
    return this.#call(operation, path, steps, finish, onFault);
  }

  #call<T>(
    operation: DiskOperation,
    path: string,
    steps: readonly (() => void)[],
    finish: () => T,
    onFault?: () => void,
  ): Promise<T> {
    if (this.#dead) return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      const code = this.#faults.codeFor(operation, path);
      const kept =
        code === undefined ? steps : steps.slice(0, this.#random.below(steps.length + 1));
      this.#pending.push({
        operation,
        steps: [...kept],
        finish: () => {
          if (code !== undefined) {
            onFault?.();
            reject(new DiskError(code, path, operation));
            return;
          }
          try {
            resolve(finish());
          } catch (error) {
            reject(error);
          }
        },
      });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#options.runsByItself !== true || this.#scheduled || this.#dead) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.completeOne()) this.#schedule();
    });
  }

  #fileAt(path: string, operation: DiskOperation): SimulatedPages {
    const entry = this.#entries.get(path);
    if (entry === undefined) throw new DiskError('ENOENT', path, operation);
    if (entry === 'directory') throw new DiskError('EISDIR', path, operation);
    return entry;
  }

  #hasParent(path: string): boolean {
    for (let at = nodePath.dirname(path); at !== nodePath.dirname(at); at = nodePath.dirname(at)) {
      if (this.#entries.get(at) !== 'directory') return false;
    }
    return true;
  }

  #changeNames(path: string, names: readonly (readonly [string, Entry | undefined])[]): void {
    const undoNames = names.map(([name]): [string, Entry | undefined] => [
      name,
      this.#entries.get(name),
    ]);
    this.#nameChanges.push({ directory: nodePath.dirname(path), undoNames });
    for (const [name, entry] of names) this.#setEntry(name, entry);
  }

  #setEntry(name: string, entry: Entry | undefined): void {
    if (entry === undefined) this.#entries.delete(name);
    else this.#entries.set(name, entry);
  }

  /** Of each directory's changes that were not synced, the last ones are undone. */
  #loseNames(survival: Survival): void {
    if (survival === 'latest') return;
    const kept = new Map<string, number>();
    for (const { directory } of this.#nameChanges) {
      kept.set(directory, (kept.get(directory) ?? 0) + 1);
    }
    for (const [directory, count] of kept) {
      kept.set(directory, survival === 'nothing' ? 0 : this.#random.below(count + 1));
    }
    const undone = this.#nameChanges.filter(({ directory }) => {
      const left = kept.get(directory) ?? 0;
      kept.set(directory, left - 1);
      return left <= 0;
    });
    for (const { undoNames } of undone.reverse()) {
      for (const [name, entry] of undoNames) this.#setEntry(name, entry);
    }
  }
}

/** Lets everything happen that waits for no disk: promises, and what they start. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
