/** What resyncs did in a run, looked at after every step: for stories that are about one. */
import type { GroupResync } from '../../../daemon/resync/group-resync.ts';
import type { SimulatedMachine } from './simulated-machine.ts';

/** When a machine's power can fail exactly (`power-loss-when`). */
export type ResyncMoment = 'begins' | 'is-half-done' | 'is-complete' | 'is-given-up';

interface SeenStage {
  joined: boolean;
  life: number;
  doneBytes: number;
}

export class ResyncWatch {
  /** Machines that were the source of one. */
  readonly sources = new Set<string>();
  /** Stages, each with what was last seen of it. */
  readonly stages = new Map<string, SeenStage>();
  /** How often one in the middle of its extents lost its source or its own life. */
  brokenOff = 0;
  /** How often a power cut met one at a moment that was asked for. */
  powerLosses = 0;
  /** Extents that a site had to get again although it lived. */
  lostBytes = 0;

  look(machines: readonly SimulatedMachine[]): void {
    for (const machine of machines) {
      for (const group of machine.site?.groups.all ?? []) {
        const { view, resync } = group;
        if (view.peer.kind === 'resyncing' && view.reigning) this.sources.add(machine.name);
        const stage = resync.unfinished;
        if (stage === undefined) continue;
        const name = `${machine.name} ${group.groupId} ${stage.startedAtMs}`;
        this.#seen(name, resync, {
          joined: view.joinedSession !== undefined,
          life: machine.lives,
        });
      }
    }
  }

  #seen(name: string, resync: GroupResync, now: { joined: boolean; life: number }): void {
    const { doneBytes = 0, totalBytes = 0 } = resync.progress ?? {};
    const before = this.stages.get(name);
    this.stages.set(name, { ...now, doneBytes });
    if (before === undefined) return;
    const isSameLife = before.life === now.life;
    if (isSameLife) this.lostBytes += Math.max(0, before.doneBytes - doneBytes);
    const inTheMiddle = before.doneBytes > 0 && before.doneBytes < totalBytes;
    if (inTheMiddle && before.joined && !(isSameLife && now.joined)) this.brokenOff += 1;
  }
}

/** How far the resyncs of a machine are. */
export function doneBytesOf({ site }: SimulatedMachine): number {
  let bytes = 0;
  for (const { resync } of site?.groups.all ?? []) {
    if (resync.unfinished !== undefined) bytes += resync.progress?.doneBytes ?? 0;
  }
  return bytes;
}

export function isAt({ site }: SimulatedMachine, moment: ResyncMoment): boolean {
  return [...(site?.groups.all ?? [])].some(({ resync }) => {
    switch (moment) {
      case 'begins':
        return resync.unfinished !== undefined;
      case 'is-half-done':
        return resync.unfinished !== undefined && (resync.progress?.doneBytes ?? 0) > 0;
      case 'is-complete':
        return resync.completed > 0;
      case 'is-given-up':
        return resync.wasDropped;
      default:
        return moment satisfies never;
    }
  });
}
