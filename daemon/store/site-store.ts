/**
 * The store of one site: identity, groups, checkpoints, the acceptor's state and events, in the
 * data directory. Synchronous, durable when a call returns (events excepted), and never on the path
 * of a write. What is in the log is not repeated here (R1).
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { GroupFlags } from '../../replication/core/config.ts';
import type { GroupId, HistoryPoint, StoreId } from '../../wal/frame.ts';
import { AcceptorTable, acceptorTableSql } from './acceptor-table.ts';
import { CheckpointTable, checkpointTableSql, type StoredCheckpoint } from './checkpoint-table.ts';
import { type Database, type DatabaseFormat, databaseError, openDatabase } from './database.ts';
import { EventLog } from './event-log.ts';
import {
  type ForcedPromotion,
  GroupTable,
  groupTableSql,
  type NewGroup,
  type StoredGroup,
} from './group-table.ts';
import { IdentityTable, identityTableSql, type StoreIdentity } from './identity-table.ts';

export type { StoredCheckpoint, StoredVolume } from './checkpoint-table.ts';
export type { NewEvent } from './event-log.ts';
export type { ForcedPromotion, NewGroup, StoredGroup } from './group-table.ts';
export type { StoreIdentity } from './identity-table.ts';

const format: DatabaseFormat = {
  applicationId: 0x43_73_6d_53,
  durability: 'full',
  migrations: [identityTableSql + groupTableSql + checkpointTableSql + acceptorTableSql],
};

export interface SiteStoreOptions {
  /** The site's data directory; made if it is missing. */
  readonly directory: string;
  readonly cluster: string;
  readonly site: string;
  /** Events that are kept. */
  readonly eventsCountMax: number;
  /** Makes the store's id, once: 32 random hex digits. */
  readonly newId?: () => StoreId;
}

export class SiteStore {
  readonly #database: Database;
  readonly #identity: IdentityTable;
  readonly #groups: GroupTable;
  readonly #checkpoints: CheckpointTable;
  readonly #removeGroup: (groupId: GroupId) => void;
  /** What this site promised as an acceptor of the register. */
  readonly acceptors: AcceptorTable;
  readonly events: EventLog;

  private constructor(database: Database, path: string, options: SiteStoreOptions) {
    const { cluster, site, newId = () => randomBytes(16).toString('hex') } = options;
    this.#database = database;
    this.#identity = new IdentityTable(database, path, { cluster, site, newId });
    this.#groups = new GroupTable(database, path);
    this.#checkpoints = new CheckpointTable(database, path);
    this.acceptors = new AcceptorTable(database, path);
    this.#removeGroup = database.transaction((groupId: GroupId) => {
      this.#checkpoints.delete(groupId);
      this.#groups.remove(groupId);
    });
    this.events = EventLog.open(options.directory, options.eventsCountMax);
  }

  /**
   * Opens the store of a data directory, or makes a new one with a new identity.
   * @throws {CasemateError} ERR_STORE_IDENTITY (another site's), ERR_STORE_VERSION (newer),
   *   ERR_STORE_CORRUPT, ERR_STORE_FOREIGN, ERR_STORE_IN_USE
   */
  static open(options: SiteStoreOptions): SiteStore {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    const path = join(options.directory, 'store.sqlite');
    const database = openDatabase(path, format);
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

  /** @throws {CasemateError} ERR_GROUP_EXISTS if a group that is not removed has the name */
  createGroup(group: NewGroup): void {
    this.#groups.create(group);
  }

  /** Marks the group as removed and forgets its checkpoint. */
  removeGroup(groupId: GroupId): void {
    this.#removeGroup(groupId);
  }

  setFlags(groupId: GroupId, flags: GroupFlags): void {
    this.#groups.setFlags(groupId, flags);
  }

  setBase(groupId: GroupId, base: HistoryPoint | undefined): void {
    this.#groups.setBase(groupId, base);
  }

  recordForcedPromotion(groupId: GroupId, promotion: ForcedPromotion): void {
    this.#groups.recordForcedPromotion(groupId, promotion);
  }

  /** Promotions that were forced at this site, oldest first. */
  forcedPromotions(groupId: GroupId): ForcedPromotion[] {
    return this.#groups.forcedPromotions(groupId);
  }

  /** Keeps the checkpoints of all these groups in one transaction. */
  saveCheckpoint(entries: readonly StoredCheckpoint[]): void {
    this.#checkpoints.save(entries);
  }

  loadCheckpoints(): Map<GroupId, StoredCheckpoint> {
    return this.#checkpoints.load();
  }

  close(): void {
    this.events.close();
    this.#database.close();
  }
}
