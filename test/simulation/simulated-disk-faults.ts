/** Errors that a test injects into the simulated disk, by purpose and count. */
import type { DiskOperation } from '../../wal/disk-error.ts';

/** "Fail the second append-log with EIO", as data. */
export interface DiskFault {
  readonly operation: DiskOperation;
  /** errno name, such as EIO or ENOSPC. */
  readonly code: string;
  /** Which matching call fails first, from now on; 1 is the next one. Default 1. */
  readonly nth?: number;
  /** How many fail from then on; default 1. */
  readonly times?: number;
  /** Only calls on paths that contain this. */
  readonly pathContains?: string;
}

interface ArmedFault {
  readonly fault: DiskFault;
  seen: number;
}

export class DiskFaults {
  #armed: ArmedFault[] = [];

  arm(fault: DiskFault): void {
    this.#armed.push({ fault, seen: 0 });
  }

  clear(): void {
    this.#armed = [];
  }

  /** The errno name with which this call has to fail; undefined if it goes well. */
  codeFor(operation: DiskOperation, path: string): string | undefined {
    for (const armed of this.#armed) {
      const { fault } = armed;
      if (fault.operation !== operation || !path.includes(fault.pathContains ?? '')) continue;
      armed.seen += 1;
      const first = fault.nth ?? 1;
      if (armed.seen >= first && armed.seen < first + (fault.times ?? 1)) return fault.code;
    }
    return undefined;
  }
}
