/**
 * I10, looked at after every step: a peer that is slow, not dead, delays a write by at most
 * `ackTimeoutMs`; then it leaves the in-sync set, as soon as the register answers. So at a site
 * that reigns, and whose process was not stopped meanwhile, no record is durable and not committed
 * for longer than that, unless a swap is under way, or the site says why it does not serve.
 */
import type { Group } from '../../../daemon/volume/group.ts';
import { simulatedTimes } from './simulated-config.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { Violation } from './violation.ts';

/** Until the core looks at the clock again, twice, by a clock that may be a tenth too slow. */
const looksAgainMs = 2 * 50;
const stallMsMax = (simulatedTimes.ackTimeoutMs + looksAgainMs) * 1.12;

interface Reign {
  readonly epochId: string;
  readonly life: number;
  /** Ends of what was durable and not committed, each with when that was first seen. */
  readonly waiting: { readonly sequence: number; readonly sinceMs: number }[];
}

export class StallCheck {
  readonly #reigns = new Map<string, Reign>();

  look(machine: SimulatedMachine, group: Group, nowMs: number): void {
    const { view, groupId, groupName } = group;
    const key = `${machine.name} ${groupId}`;
    const epochId = view.epochIdOfReign;
    if (epochId === undefined || !machine.awake || view.waitReason !== undefined) {
      this.#reigns.delete(key);
      return;
    }
    let reign = this.#reigns.get(key);
    if (reign?.epochId !== epochId || reign.life !== machine.lives) {
      reign = { epochId, life: machine.lives, waiting: [] };
      this.#reigns.set(key, reign);
    }
    const { waiting } = reign;
    while ((waiting[0]?.sequence ?? Infinity) <= view.commit) waiting.shift();
    if (view.durable > Math.max(view.commit, waiting.at(-1)?.sequence ?? 0)) {
      waiting.push({ sequence: view.durable, sinceMs: nowMs });
    }
    const oldest = waiting[0];
    if (oldest === undefined || view.swapPending || nowMs - oldest.sinceMs <= stallMsMax) return;
    const waitedMs = Math.round(nowMs - oldest.sinceMs);
    const where = `${groupName} at ${machine.name}`;
    throw new Violation('I10', `${where}: record ${oldest.sequence} waits for ${waitedMs} ms`);
  }
}
