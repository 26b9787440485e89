/**
 * Looked at after every step: what must hold of the two sites at any moment (I1 to I11), as far as
 * it can be seen from outside. What clients see is checked by their history, at the end.
 */

import type { Group } from '../../../daemon/volume/group.ts';
import type { GroupConfig } from '../../../replication/core/config.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import { StallCheck } from './stall-check.ts';
import { Violation } from './violation.ts';

interface SeenGroup {
  /** Digest of the history through each committed frame, whoever committed it. */
  readonly committed: Map<number, string>;
  /** Digest of the history through the end of a reign's frame, by epoch id and sequence. */
  readonly named: Map<string, string>;
  readonly configs: Map<number, GroupConfig>;
  /** What a store has claimed to be durable in its log. */
  readonly durable: Map<string, number>;
  /** The furthest commit point that any site has known. */
  newestCommit: number;
}

export class InvariantChecks {
  /** After a forced promotion there are two histories, and the sites say so. */
  forced = false;
  /** A copy was resynced: what its clients wrote before cannot be found in its log (R37). */
  resynced = false;
  /** Bits have rotted, or a store has lied: what was claimed may be gone. */
  rotten = false;
  /** Blocks of data files in which a bit has rotted, each with the site where. */
  readonly rottenBlocks = new Map<string, string>();
  /** Such a block was of the only copy. */
  blockLost = false;
  /** Machines whose data files can be bad: rot, or errors. */
  readonly badDisks = new Set<string>();
  /** Stores of disks that were replaced. */
  readonly lostStores = new Set<string>();
  readonly #groups = new Map<string, SeenGroup>();
  readonly #lives = new Map<string, number>();
  readonly #stalls = new StallCheck();
  readonly #lostEnds = new Set<string>();
  #steps = 0;

  /** Bits have rotted somewhere: what one site lost, the other may not have. */
  get anyRot(): boolean {
    return this.rotten || this.rottenBlocks.size > 0;
  }

  /** Throws a Violation. */
  look(machines: readonly SimulatedMachine[], nowMs: number): void {
    this.#steps += 1;
    const serving = new Map<string, string>();
    for (const machine of machines) {
      const { site } = machine;
      if (site === undefined || !machine.running) continue;
      const fresh = this.#lives.get(machine.name) !== machine.lives;
      this.#lives.set(machine.name, machine.lives);
      for (const group of site.groups.all) {
        const seen = this.#seen(group.groupId);
        this.#lookAt(machine, group, seen, fresh);
        this.#stalls.look(machine, group, nowMs);
        if (!machine.awake || !group.mayRead()) continue;
        const other = serving.get(group.groupId);
        if (other !== undefined && !this.forced) {
          throw new Violation('I4', `${other} and ${machine.name} both serve ${group.groupName}`);
        }
        serving.set(group.groupId, machine.name);
      }
      if (this.#steps % 64 === 0) checkBounds(machine);
    }
  }

  #lookAt(machine: SimulatedMachine, group: Group, seen: SeenGroup, fresh: boolean): void {
    const { site } = machine;
    if (site === undefined) return;
    const { view } = group;
    const storeId = site.store.storeId;
    const where = `${group.groupName} at ${machine.name}`;
    const claimed = seen.durable.get(storeId) ?? 0;
    const goesBack = group.resync.wasDropped;
    this.#lookAtLogEnd(machine, group, fresh ? claimed : undefined);
    if (fresh && !this.rotten && !goesBack && view.end.sequence < claimed) {
      const text = `${where} has lost records: its log ends at ${view.end.sequence}, not ${claimed}`;
      throw new Violation('I1', text);
    }
    seen.durable.set(storeId, view.durable);
    if (view.peer.kind === 'resyncing') this.resynced = true;
    // A stage takes the place of the data files as a whole, just before the core hears of it (R26):
    // there the one who commits is asked.
    const isStaged = view.peer.kind === 'resyncing' && !view.reigning;
    const known = Math.max(view.commit, group.counters.checkpoint.sequence);
    seen.newestCommit = Math.max(seen.newestCommit, known);
    const committed = isStaged && !this.forced ? seen.newestCommit : known;
    if (!(isStaged && this.forced) && group.volumes.appliedThrough > committed) {
      throw new Violation('I3', `${where} has applied what is not committed`);
    }
    if (site.failure !== undefined && (group.mayRead() || view.takesWrites)) {
      throw new Violation('I8', `${where} serves although its disk has failed`);
    }
    // An old image is whole whenever the stage beside it was given up, and by whatever crash (I6).
    const { waitReason } = view;
    if (
      group.resync.wasDropped &&
      (waitReason?.code === 'damaged' || waitReason?.code === 'inconsistent')
    ) {
      throw new Violation('I6', `${where} is ${waitReason.code} after a stage was given up`);
    }
    if (this.forced) return;
    this.#lookAtConfig(seen, view.config, where);
    // A history that begins anew with a stage is in the log only after the next commit.
    const isEnd = view.commit === view.end.sequence;
    const digest = isEnd ? view.end.digest : site.log.digestAt(group.groupId, view.commit);
    sameEverywhere(seen.committed, view.commit, digest, `I11`, `${where} commit ${view.commit}`);
    if (!view.reigning || view.config === undefined) return;
    const name = `${view.epochIdOfReign}/${view.end.sequence}`;
    sameEverywhere(seen.named, name, view.end.digest, 'I2', `${where} record ${name}`);
    if (this.rotten) return;
    for (const member of view.config.inSync) {
      const durable = seen.durable.get(member) ?? 0;
      if (view.commit > durable) {
        const text = `${where} has committed ${view.commit}, ${member} has only ${durable}`;
        throw new Violation('I1', text);
      }
    }
  }

  /**
   * The last frame of a log has rotted, which looks like a torn write: a primary that can't ask its
   * peer for it reigns without it, and what was answered is lost. That is no violation.
   */
  #lookAtLogEnd(machine: SimulatedMachine, group: Group, claimed: number | undefined): void {
    const key = `${machine.name} ${group.groupId}`;
    const { view } = group;
    if (claimed !== undefined) {
      if (this.rotten && view.end.sequence < claimed) this.#lostEnds.add(key);
      else this.#lostEnds.delete(key);
    }
    if (!view.reigning || !this.#lostEnds.delete(key)) return;
    if (machine.site?.peer.connected !== true) this.forced = true;
  }

  /** One configuration for an epoch, and only members of the in-sync set follow (I5). */
  #lookAtConfig(seen: SeenGroup, config: GroupConfig | undefined, where: string): void {
    if (config === undefined) return;
    const known = seen.configs.get(config.epoch);
    if (known !== undefined) {
      if (known.epochId === config.epochId) return;
      throw new Violation('I5', `${where}: two configurations for epoch ${config.epoch}`);
    }
    seen.configs.set(config.epoch, config);
    for (const [before, after] of [
      [seen.configs.get(config.epoch - 1), config],
      [config, seen.configs.get(config.epoch + 1)],
    ] as const) {
      if (before === undefined || after === undefined) continue;
      if (!before.inSync.includes(after.primary)) {
        throw new Violation('I5', `${where}: the primary of ${after.epoch} was not in sync`);
      }
      const joined = after.inSync.filter((store) => !before.inSync.includes(store));
      if (joined.length > 0 && after.primary !== before.primary) {
        throw new Violation('I5', `${where}: epoch ${after.epoch} adds what its winner had not`);
      }
    }
  }

  #seen(groupId: string): SeenGroup {
    let seen = this.#groups.get(groupId);
    if (seen === undefined) {
      seen = {
        committed: new Map(),
        named: new Map(),
        configs: new Map(),
        durable: new Map(),
        newestCommit: 0,
      };
      this.#groups.set(groupId, seen);
    }
    return seen;
  }
}

function sameEverywhere<Key>(
  known: Map<Key, string>,
  key: Key,
  digest: string | undefined,
  kind: string,
  what: string,
): void {
  if (digest === undefined) return;
  const before = known.get(key);
  if (before === undefined) known.set(key, digest);
  else if (before !== digest) throw new Violation(kind, `two histories: ${what}`);
}

/** I9: what is held has limits. */
function checkBounds(machine: SimulatedMachine): void {
  const { site } = machine;
  if (site === undefined) return;
  const { sizeBytes, limitBytes } = site.log.stats();
  // By one segment if need be: without a place to write after a start nothing could be freed.
  if (sizeBytes > limitBytes + machine.config.log.segmentBytes) {
    throw new Violation(
      'I9',
      `the log of ${machine.name} takes ${sizeBytes} of ${limitBytes} bytes`,
    );
  }
  if (site.memory.usedBytes < 0) {
    throw new Violation('I9', `${machine.name} has given back more memory than it took`);
  }
}
