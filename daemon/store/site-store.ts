/**
 * The store of one site: identity, groups, checkpoints, the acceptor's state and events, in the
 * data directory. Synchronous, durable when a call returns (events excepted), and never on the path
 * of a write. What is in the log is not repeated here (R1).
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { GroupFlags } from '../../replication/core/config.ts';
import type { GroupId, HistoryPoint, StoreId } from '../../wal/frame.ts';
import { AcceptorTable, acceptorTableSql } from './acceptor-table.ts';
import { CheckpointTable, checkpointTableSql, type StoredCheckpoint } from './checkpoint-table.ts';
import {
  type Database,
  type DatabaseFormat,
  databaseError,
  type OpenDatabase,
  openDatabase,
} from './database.ts';
import { EventLog } from './event-log.ts';
import {
  type ExtentKind,
  ExtentTable,
  extentTableSql,
  type StoredChunk,
  stageKinds,
} from './extent-table.ts';
import {
  type ForcedPromotion,
  foundingTableSql,
  GroupTable,
  groupTableSql,
  type NewGroup,
  type StoredGroup,
} from './group-table.ts';
import { IdentityTable, identityTableSql, type StoreIdentity } from './identity-table.ts';
import {
  isSameResolve,
  ResolveTable,
  resolveTableSql,
  type StoredResolve,
} from './resolve-table.ts';
import { StageTable, type StoredStage, stageTableSql } from './stage-table.ts';
import { WitnessTable, witnessTableSql } from './witness-table.ts';

export type { StoredCheckpoint, StoredVolume } from './checkpoint-table.ts';
export type { NewEvent } from './event-log.ts';
export type { ExtentKind, StoredChunk } from './extent-table.ts';
export type { ForcedPromotion, NewGroup, StoredGroup } from './group-table.ts';
export type { StoreIdentity } from './identity-table.ts';
export { isSameResolve, type StoredResolve } from './resolve-table.ts';
export type { StoredStage } from './stage-table.ts';

const format: DatabaseFormat = {
  applicationId: 0x43_73_6d_53,
  durability: 'full',
  migrations: [
    identityTableSql + groupTableSql + checkpointTableSql + acceptorTableSql,
    extentTableSql + stageTableSql,
    witnessTableSql,
    resolveTableSql,
    foundingTableSql,
  ],
};

/** How far a group's resync is, to be kept in one transaction with a checkpoint. */
export interface StageSave {
  readonly groupId: GroupId;
  /** Undefined: there is nothing left of it. */
  readonly stage: StoredStage | undefined;
  readonly chunks: readonly StoredChunk[];
  /** The stage is the group's state from now on: flags off, no base, nothing wanted any more. */
  readonly completes: boolean;
}

export interface SiteStoreOptions {
  /** The site's data directory; made if it is missing. */
  readonly directory: string;
  readonly cluster: string;
  readonly site: string;
  /** Events that are kept. */
  readonly eventsCountMax: number;
  /** Makes the store's id, once: 32 random hex digits. */
  readonly newId?: () => StoreId;
  /** Opens a database file; the real thing if absent. */
  readonly openDatabase?: OpenDatabase;
}

/** The log follows the stage, not the group's own checkpoint. */
function isUnfinished({ state }: StoredStage): boolean {
  return state === 'staged' || state === 'in-place';
}

export class SiteStore {
  readonly #database: Database;
  readonly #identity: IdentityTable;
  readonly #groups: GroupTable;
  readonly #checkpoints: CheckpointTable;
  readonly #extents: ExtentTable;
  readonly #stages: StageTable;
  readonly #resolves: ResolveTable;
  readonly #createGroup: (group: NewGroup, founding: boolean) => void;
  readonly #removeGroup: (groupId: GroupId) => void;
  readonly #setBase: (groupId: GroupId, base: HistoryPoint | undefined) => void;
  readonly #saveAll: (entries: readonly StoredCheckpoint[], stages: readonly StageSave[]) => void;
  readonly #beginStage: (stage: StoredStage, chunks: readonly StoredChunk[]) => void;
  readonly #goInPlace: (stage: StoredStage) => void;
  readonly #giveUpStage: (stage: StoredStage) => void;
  readonly #dropStage: (groupId: GroupId) => void;
  readonly #setFlags: (groupId: GroupId, flags: GroupFlags) => void;
  readonly #beginResolve: (groupId: GroupId, resolve: StoredResolve) => void;
  /** What this site promised as an acceptor of the register. */
  readonly acceptors: AcceptorTable;
  /** The witnesses that this site has met. */
  readonly witnesses: WitnessTable;
  readonly events: EventLog;

  private constructor(database: Database, path: string, options: SiteStoreOptions) {
    const { cluster, site, newId = () => randomBytes(16).toString('hex') } = options;
    this.#database = database;
    this.#identity = new IdentityTable(database, path, { cluster, site, newId });
    this.#groups = new GroupTable(database, path);
    this.#checkpoints = new CheckpointTable(database, path);
    this.#extents = new ExtentTable(database, path);
    this.#stages = new StageTable(database, path);
    this.#resolves = new ResolveTable(database, path);
    this.acceptors = new AcceptorTable(database, path);
    this.witnesses = new WitnessTable(database, path);
    this.#createGroup = database.transaction((group: NewGroup, founding: boolean) => {
      this.#groups.create(group, founding);
    });
    this.#removeGroup = database.transaction((groupId: GroupId) => {
      this.#checkpoints.delete(groupId);
      this.#endStage(groupId);
      this.#extents.clear(groupId, ['dirty']);
      this.#resolves.delete(groupId);
      this.#groups.remove(groupId);
    });
    this.#setBase = database.transaction((groupId: GroupId, base: HistoryPoint | undefined) => {
      this.#extents.clear(groupId, ['dirty']);
      this.#groups.setBase(groupId, base);
    });
    this.#saveAll = database.transaction(
      (entries: readonly StoredCheckpoint[], stages: readonly StageSave[]) => {
        this.#checkpoints.save(entries);
        for (const { groupId, chunks = [] } of entries) this.#extents.save(groupId, chunks);
        for (const save of stages) this.#saveStage(save);
      },
    );
    this.#beginStage = database.transaction(
      (stage: StoredStage, chunks: readonly StoredChunk[]) => {
        this.#extents.clear(stage.groupId, stageKinds);
        this.#extents.save(stage.groupId, chunks);
        this.#stages.save(stage);
        if (stage.state === 'in-place') this.#groups.setInconsistent(stage.groupId);
      },
    );
    this.#goInPlace = database.transaction((stage: StoredStage) => {
      this.#stages.save(stage);
      this.#groups.setInconsistent(stage.groupId);
    });
    this.#giveUpStage = database.transaction((stage: StoredStage) => {
      this.#extents.clear(stage.groupId, stageKinds);
      this.#stages.save({ ...stage, state: 'dropped' });
    });
    this.#setFlags = database.transaction((groupId: GroupId, flags: GroupFlags) => {
      this.#groups.setFlags(groupId, flags);
      if (!flags.resolving) this.#resolves.delete(groupId);
    });
    this.#beginResolve = database.transaction((groupId: GroupId, resolve: StoredResolve) => {
      this.#resolves.save(groupId, resolve);
      this.#groups.notSplit(groupId);
      this.acceptors.releaseForced(groupId, this.storeId);
    });
    this.#dropStage = database.transaction((groupId: GroupId) => this.#endStage(groupId));
    this.events = EventLog.open(options.directory, options.eventsCountMax, options.openDatabase);
  }

  /**
   * Opens the store of a data directory, or makes a new one with a new identity.
   * @throws {CasemateError} ERR_STORE_IDENTITY (another site's), ERR_STORE_VERSION (newer),
   *   ERR_STORE_CORRUPT, ERR_STORE_FOREIGN, ERR_STORE_IN_USE
   */
  static open(options: SiteStoreOptions): SiteStore {
    const path = join(options.directory, 'store.sqlite');
    const database = (options.openDatabase ?? openDatabase)(path, format);
    try {
      return new SiteStore(database, path, options);
    } catch (error) {
      database.close();
      throw databaseError(error, path);
    }
  }

  get identity(): StoreIdentity {
    return this.#identity.identity;
  }

  get storeId(): StoreId {
    return this.#identity.identity.storeId;
  }

  get peerStoreId(): StoreId | undefined {
    return this.#identity.peerStoreId;
  }

  setPeerStoreId(storeId: StoreId): void {
    this.#identity.setPeerStoreId(storeId);
  }

  /** All groups, oldest first; removed ones too, which stay for ever (R39). */
  groups(): StoredGroup[] {
    return this.#groups.list();
  }

  /**
   * Keeps a new group: one that this site is `founding`, or one of the peer's.
   * @throws {CasemateError} ERR_GROUP_EXISTS if a group that is not removed has the name
   */
  createGroup(group: NewGroup, founding = false): void {
    this.#createGroup(group, founding);
  }

  /** The register has the first configuration of a group that this site was founding. */
  groupFounded(groupId: GroupId): void {
    this.#groups.founded(groupId);
  }

  /** Marks the group as removed and forgets its checkpoint. */
  removeGroup(groupId: GroupId): void {
    this.#removeGroup(groupId);
  }

  setFlags(groupId: GroupId, flags: GroupFlags): void {
    this.#setFlags(groupId, flags);
  }

  /**
   * There is no log any more, and what it held beyond the checkpoints is missing (R24): all groups
   * are damaged, until the peer or a promotion by force mends that. Gives how many there are.
   */
  logLost(): number {
    return this.#groups.logLost();
  }

  // --- the side of a split that was given up (R36)

  resolve(groupId: GroupId): StoredResolve | undefined {
    return this.#resolves.load(groupId);
  }

  /**
   * The side of the group here is given up: it is split no more, and its acceptor hears the other
   * site again if a forced promotion had ended that (R35).
   */
  beginResolve(groupId: GroupId, resolve: StoredResolve): void {
    this.#beginResolve(groupId, resolve);
  }

  /** What this side had changed is kept aside, durably; no news if it is not given up any more. */
  resolveKeptAside(groupId: GroupId, resolve: StoredResolve): void {
    if (!isSameResolve(this.#resolves.load(groupId), resolve)) return;
    this.#resolves.save(groupId, { ...resolve, keptAside: true });
  }

  /** A new base, or none: what has changed since an older one is forgotten with it (R27). */
  setBase(groupId: GroupId, base: HistoryPoint | undefined): void {
    this.#setBase(groupId, base);
  }

  /** What is kept of one kind of extents of a group. */
  loadExtents(groupId: GroupId, kind: ExtentKind): readonly StoredChunk[] {
    return this.#extents.load(groupId, kind);
  }

  // --- the resync that a group is in the middle of (R26)

  stage(groupId: GroupId): StoredStage | undefined {
    return this.#stages.load(groupId);
  }

  /**
   * A resync begins, in place of another one if there is any: `chunks` are what it wants. In place:
   * the group is inconsistent with it.
   */
  beginStage(stage: StoredStage, chunks: readonly StoredChunk[]): void {
    this.#beginStage(stage, chunks);
  }

  /** What does not fit beside the data files goes into them: the group is inconsistent. */
  goInPlace(stage: StoredStage): void {
    this.#goInPlace(stage);
  }

  /**
   * The old image counts again, from now on. That is remembered until a checkpoint passes it, for
   * the log still has what followed the stage until the cut that voids it is durable.
   */
  giveUpStage(stage: StoredStage): void {
    this.#giveUpStage(stage);
  }

  dropStage(groupId: GroupId): void {
    this.#dropStage(groupId);
  }

  recordForcedPromotion(groupId: GroupId, promotion: ForcedPromotion): void {
    this.#groups.recordForcedPromotion(groupId, promotion);
  }

  /** Promotions that were forced at this site, oldest first. */
  forcedPromotions(groupId: GroupId): ForcedPromotion[] {
    return this.#groups.forcedPromotions(groupId);
  }

  /** Keeps the checkpoints of all these groups, and how far resyncs are, in one transaction. */
  saveCheckpoint(entries: readonly StoredCheckpoint[], stages: readonly StageSave[] = []): void {
    this.#saveAll(entries, stages);
  }

  loadCheckpoints(): Map<GroupId, StoredCheckpoint> {
    return this.#checkpoints.load();
  }

  /** Where the log has to begin for each group: at its checkpoint, or where its stage is. */
  logMarks(): Map<GroupId, Pick<StoredCheckpoint, 'checkpoint' | 'acknowledgedMark'>> {
    const marks = new Map<GroupId, Pick<StoredCheckpoint, 'checkpoint' | 'acknowledgedMark'>>(
      this.#checkpoints.load(),
    );
    for (const { groupId } of this.#groups.list()) {
      const stage = this.#stages.load(groupId);
      if (stage === undefined || !isUnfinished(stage)) continue;
      marks.set(groupId, { checkpoint: stage.checkpoint, acknowledgedMark: 0 });
    }
    return marks;
  }

  close(): void {
    this.events.close();
    this.#database.close();
  }

  #saveStage({ groupId, stage, chunks, completes }: StageSave): void {
    if (completes) {
      this.#groups.resynced(groupId);
      this.#resolves.delete(groupId);
      this.#extents.clear(groupId, ['dirty', 'wanted', 'held']);
    }
    if (stage === undefined) {
      this.#endStage(groupId);
      return;
    }
    this.#stages.save(stage);
    this.#extents.save(groupId, chunks);
  }

  #endStage(groupId: GroupId): void {
    this.#stages.delete(groupId);
    this.#extents.clear(groupId, stageKinds);
  }
}
