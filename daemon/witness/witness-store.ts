/**
 * What a witness keeps (R1, R4): who it is, and for each group of each cluster what it promised and
 * accepted. Kept for ever, and on stable storage before it is answered: an acceptor that forgets
 * could let two configurations win the same epoch. A few hundred bytes for each group; no data.
 */
import { join } from 'node:path';
import { Type } from '@sinclair/typebox';
import type { AcceptorState, AcceptorStore } from '../../replication/register/acceptor.ts';
import type { GroupId, StoreId } from '../../wal/frame.ts';
import { CasemateError } from '../errors.ts';
import {
  type Database,
  type DatabaseFormat,
  databaseError,
  type OpenDatabase,
  openDatabase,
  together,
} from '../store/database.ts';
import { storeCorrupt, wrongIdentity } from '../store/errors.ts';
import { checkedRow, countSchema, identifierSchema } from '../store/rows.ts';

const format: DatabaseFormat = {
  applicationId: 0x43_73_6d_57,
  durability: 'full',
  migrations: [
    `CREATE TABLE identity (
       only INTEGER PRIMARY KEY CHECK (only = 1),
       store_id TEXT NOT NULL,
       name TEXT NOT NULL
     ) STRICT;
     CREATE TABLE acceptor (
       cluster TEXT NOT NULL,
       group_id TEXT NOT NULL,
       state TEXT NOT NULL,
       PRIMARY KEY (cluster, group_id)
     ) STRICT, WITHOUT ROWID;`,
  ],
};

const identitySchema = Type.Object({ store_id: identifierSchema, name: Type.String() });
const stateSchema = Type.Object({ state: Type.String() });
const groupCountSchema = Type.Object({ groups: countSchema });

export interface WitnessStoreOptions {
  readonly directory: string;
  readonly name: string;
  /** Groups of one cluster that may be remembered. */
  readonly groupsMax: number;
  /** Makes the store's id, once: 32 random hex digits. */
  readonly newId: () => StoreId;
  /** Opens a database file; the real thing if absent. */
  readonly openDatabase?: OpenDatabase;
}

export class WitnessStore {
  readonly storeId: StoreId;
  readonly #database: Database;
  readonly #path: string;
  readonly #groupsMax: number;
  readonly #statements;
  readonly #together: (run: () => void) => void;
  /** Groups of each cluster, counted once and kept. */
  readonly #groups = new Map<string, number>();
  #commits = 0;
  #dirty = false;

  private constructor(database: Database, path: string, options: WitnessStoreOptions) {
    this.#database = database;
    this.#path = path;
    this.#groupsMax = options.groupsMax;
    this.storeId = identify(database, path, options);
    this.#statements = {
      load: database.prepare('SELECT state FROM acceptor WHERE cluster = ? AND group_id = ?'),
      count: database.prepare('SELECT count(*) AS groups FROM acceptor WHERE cluster = ?'),
      save: database.prepare(
        `INSERT INTO acceptor (cluster, group_id, state) VALUES (?, ?, ?)
         ON CONFLICT (cluster, group_id) DO UPDATE SET state = excluded.state`,
      ),
    };
    this.#together = together(database, path);
  }

  /**
   * Opens the store of a data directory, or makes a new one with a new identity.
   * @throws {CasemateError} ERR_STORE_IDENTITY (another witness's), ERR_STORE_VERSION (newer),
   *   ERR_STORE_CORRUPT, ERR_STORE_FOREIGN, ERR_STORE_IN_USE
   */
  static open(options: WitnessStoreOptions): WitnessStore {
    const path = join(options.directory, 'witness.sqlite');
    const database = (options.openDatabase ?? openDatabase)(path, format);
    try {
      return new WitnessStore(database, path, options);
    } catch (error) {
      database.close();
      throw databaseError(error, path);
    }
  }

  /** The groups of one cluster, as its acceptor wants them. Saved by the `commit` around it. */
  cluster(cluster: string): AcceptorStore {
    return {
      load: (groupId) => this.#load(cluster, groupId),
      save: (groupId, state) => this.#save(cluster, groupId, state),
    };
  }

  /**
   * Everything that `run` saves is on stable storage, with one sync, when this returns.
   * @throws {CasemateError} ERR_STORE_FULL: nothing of it was kept, and it may be tried again;
   *   anything else: what is on the disk is not known (I8).
   */
  commit(run: () => void): void {
    this.#dirty = false;
    try {
      this.#together(run);
    } catch (error) {
      // Counts of groups that were not kept after all.
      this.#groups.clear();
      throw error;
    }
    if (this.#dirty) this.#commits += 1;
  }

  /** Syncs so far. */
  get commits(): number {
    return this.#commits;
  }

  groupsOf(cluster: string): number {
    const known = this.#groups.get(cluster);
    if (known !== undefined) return known;
    const found: unknown = this.#statements.count.get(cluster);
    const { groups } = checkedRow(groupCountSchema, found, this.#path, 'a count of groups');
    this.#groups.set(cluster, groups);
    return groups;
  }

  close(): void {
    this.#database.close();
  }

  #load(cluster: string, groupId: GroupId): unknown {
    const found: unknown = this.#statements.load.get(cluster, groupId);
    if (found === undefined) return undefined;
    const { state } = checkedRow(stateSchema, found, this.#path, 'an acceptor state');
    try {
      return JSON.parse(state);
    } catch (error) {
      throw storeCorrupt(this.#path, `acceptor state of group ${groupId} is no JSON`, error);
    }
  }

  #save(cluster: string, groupId: GroupId, state: AcceptorState): void {
    const groups = this.groupsOf(cluster);
    const isNew = this.#statements.load.get(cluster, groupId) === undefined;
    if (isNew && groups >= this.#groupsMax) {
      throw new CasemateError(
        'ERR_WITNESS_FULL',
        `cluster "${cluster}" has ${groups} groups at the witness, its limit (limits.groupsMax)`,
        { hint: 'Raise limits.groupsMax of the witness.' },
      );
    }
    this.#statements.save.run(cluster, groupId, JSON.stringify(state));
    this.#dirty = true;
    if (isNew) this.#groups.set(cluster, groups + 1);
  }
}

function identify(database: Database, path: string, { name, newId }: WitnessStoreOptions): StoreId {
  const select = database.prepare('SELECT store_id, name FROM identity WHERE only = 1');
  if (select.get() === undefined) {
    const insert = database.prepare('INSERT INTO identity (only, store_id, name) VALUES (1, ?, ?)');
    insert.run(newId(), name);
  }
  const row = checkedRow(identitySchema, select.get(), path, 'identity');
  if (row.name !== name) throw wrongIdentity('name', path, row.name, name);
  return row.store_id;
}
