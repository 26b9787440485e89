/**
 * The groups of this site with what a group keeps besides its checkpoint: its mode, its flags
 * (R24; `resolving` is a row of `resolve-table.ts`), its base (R27), the promotions that were
 * forced here (R35), and whether it may lack its first configuration (`found-group.ts`). A removed
 * group stays in the table for ever, so that a peer that was away learns of the removal (R39).
 */
import { Type } from '@sinclair/typebox';
import type { GroupFlags } from '../../replication/core/config.ts';
import type { GroupId, HistoryPoint } from '../../wal/frame.ts';
import { CasemateError } from '../errors.ts';
import type { Database } from './database.ts';
import { storeCorrupt } from './errors.ts';
import {
  checkedJson,
  checkedRow,
  countSchema,
  flagSchema,
  historyPointSchema,
  identifierSchema,
} from './rows.ts';

export const groupTableSql = `
  CREATE TABLE consistency_group (
    group_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    on_peer_loss TEXT NOT NULL,
    preferred_site TEXT,
    created_at_ms INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0,
    inconsistent INTEGER NOT NULL DEFAULT 0,
    split INTEGER NOT NULL DEFAULT 0,
    damaged INTEGER NOT NULL DEFAULT 0,
    base TEXT
  ) STRICT;
  CREATE UNIQUE INDEX consistency_group_name ON consistency_group (name) WHERE removed = 0;
  CREATE TABLE forced_promotion (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id TEXT NOT NULL REFERENCES consistency_group (group_id),
    at_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    end TEXT NOT NULL,
    text TEXT NOT NULL
  ) STRICT;
`;

/** Groups that this site makes, until the register has their first configuration. */
export const foundingTableSql = `
  CREATE TABLE founding (group_id TEXT PRIMARY KEY) STRICT;
`;

const onPeerLossSchema = Type.Union([Type.Literal('suspend'), Type.Literal('preferred')]);

const rowSchema = Type.Object({
  resolving: flagSchema,
  founding: flagSchema,
  group_id: identifierSchema,
  name: Type.String({ minLength: 1 }),
  on_peer_loss: onPeerLossSchema,
  preferred_site: Type.Union([Type.String(), Type.Null()]),
  created_at_ms: countSchema,
  removed: flagSchema,
  inconsistent: flagSchema,
  split: flagSchema,
  damaged: flagSchema,
  base: Type.Union([Type.String(), Type.Null()]),
});

const promotionSchema = Type.Object({
  at_ms: countSchema,
  epoch: countSchema,
  end: Type.String(),
  text: Type.String(),
});

/** A group as it is made. */
export interface NewGroup {
  readonly groupId: GroupId;
  readonly name: string;
  readonly onPeerLoss: 'suspend' | 'preferred';
  readonly preferredSite: string | undefined;
  readonly createdAtMs: number;
}

export interface StoredGroup extends NewGroup {
  readonly removed: boolean;
  /** Made here, and perhaps not yet in the register. */
  readonly founding: boolean;
  readonly flags: GroupFlags;
  readonly base: HistoryPoint | undefined;
}

/** A promotion that an operator forced at this site: what was given up is in `text`. */
export interface ForcedPromotion {
  readonly atMs: number;
  readonly epoch: number;
  readonly end: HistoryPoint;
  readonly text: string;
}

export class GroupTable {
  readonly #path: string;
  readonly #statements;

  constructor(database: Database, path: string) {
    this.#path = path;
    this.#statements = {
      list: database.prepare(
        `SELECT *, EXISTS (SELECT 1 FROM resolving WHERE resolving.group_id = g.group_id) AS resolving,
           EXISTS (SELECT 1 FROM founding WHERE founding.group_id = g.group_id) AS founding
         FROM consistency_group AS g ORDER BY created_at_ms, group_id`,
      ),
      named: database.prepare('SELECT 1 FROM consistency_group WHERE name = ? AND removed = 0'),
      create: database.prepare(
        `INSERT INTO consistency_group
           (group_id, name, on_peer_loss, preferred_site, created_at_ms) VALUES (?, ?, ?, ?, ?)`,
      ),
      founds: database.prepare('INSERT INTO founding (group_id) VALUES (?)'),
      founded: database.prepare('DELETE FROM founding WHERE group_id = ?'),
      remove: database.prepare('UPDATE consistency_group SET removed = 1 WHERE group_id = ?'),
      setFlags: database.prepare(
        `UPDATE consistency_group SET inconsistent = ?, split = ?, damaged = ? WHERE group_id = ?`,
      ),
      logLost: database.prepare('UPDATE consistency_group SET damaged = 1 WHERE removed = 0'),
      setInconsistent: database.prepare(
        'UPDATE consistency_group SET inconsistent = 1 WHERE group_id = ?',
      ),
      notSplit: database.prepare('UPDATE consistency_group SET split = 0 WHERE group_id = ?'),
      resynced: database.prepare(
        `UPDATE consistency_group SET inconsistent = 0, damaged = 0, base = NULL
         WHERE group_id = ?`,
      ),
      setBase: database.prepare('UPDATE consistency_group SET base = ? WHERE group_id = ?'),
      promote: database.prepare(
        'INSERT INTO forced_promotion (group_id, at_ms, epoch, end, text) VALUES (?, ?, ?, ?, ?)',
      ),
      promotions: database.prepare(
        'SELECT at_ms, epoch, end, text FROM forced_promotion WHERE group_id = ? ORDER BY number',
      ),
    };
  }

  /** All groups, removed ones too, oldest first. */
  list(): StoredGroup[] {
    return this.#statements.list.all().map((row) => this.#group(row));
  }

  create(group: NewGroup, founding: boolean): void {
    const { groupId, name, onPeerLoss, preferredSite, createdAtMs } = group;
    if (this.#statements.named.get(name) !== undefined) {
      throw new CasemateError('ERR_GROUP_EXISTS', `there is a group "${name}" already`, {
        hint: 'Choose another name, or delete the group that has it.',
        status: 409,
      });
    }
    this.#statements.create.run(groupId, name, onPeerLoss, preferredSite ?? null, createdAtMs);
    if (founding) this.#statements.founds.run(groupId);
  }

  /** The register has the group's first configuration. */
  founded(groupId: GroupId): void {
    this.#statements.founded.run(groupId);
  }

  remove(groupId: GroupId): void {
    this.#statements.founded.run(groupId);
    this.#changed(this.#statements.remove.run(groupId), groupId);
  }

  setFlags(groupId: GroupId, flags: Omit<GroupFlags, 'resolving'>): void {
    const { inconsistent, split, damaged } = flags;
    const values = [inconsistent, split, damaged].map(Number);
    this.#changed(this.#statements.setFlags.run(...values, groupId), groupId);
  }

  /** Every group may lack records that only the log had. Gives how many there are. */
  logLost(): number {
    return this.#statements.logLost.run().changes;
  }

  /** The side here is given up (R36): that it was split is settled. */
  notSplit(groupId: GroupId): void {
    this.#changed(this.#statements.notSplit.run(groupId), groupId);
  }

  /** A resync writes into the data files from now on (R26). */
  setInconsistent(groupId: GroupId): void {
    this.#changed(this.#statements.setInconsistent.run(groupId), groupId);
  }

  /** A resync is complete: this copy is as whole as the one it was made from (R24). */
  resynced(groupId: GroupId): void {
    this.#changed(this.#statements.resynced.run(groupId), groupId);
  }

  setBase(groupId: GroupId, base: HistoryPoint | undefined): void {
    const text = base === undefined ? null : JSON.stringify(base);
    this.#changed(this.#statements.setBase.run(text, groupId), groupId);
  }

  recordForcedPromotion(groupId: GroupId, promotion: ForcedPromotion): void {
    const { atMs, epoch, end, text } = promotion;
    this.#statements.promote.run(groupId, atMs, epoch, JSON.stringify(end), text);
  }

  forcedPromotions(groupId: GroupId): ForcedPromotion[] {
    return this.#statements.promotions.all(groupId).map((found) => {
      const what = `forced promotion of group ${groupId}`;
      const row = checkedRow(promotionSchema, found, this.#path, what);
      const end = checkedJson(historyPointSchema, row.end, this.#path, what);
      if (end === undefined) throw storeCorrupt(this.#path, `${what} lacks its point`);
      return { atMs: row.at_ms, epoch: row.epoch, end, text: row.text };
    });
  }

  #changed(result: { readonly changes: number }, groupId: GroupId): void {
    if (result.changes !== 1) throw new Error(`the store has no group ${groupId}`);
  }

  #group(found: unknown): StoredGroup {
    const row = checkedRow(rowSchema, found, this.#path, 'a group');
    return {
      groupId: row.group_id,
      name: row.name,
      onPeerLoss: row.on_peer_loss,
      preferredSite: row.preferred_site ?? undefined,
      createdAtMs: row.created_at_ms,
      removed: row.removed === 1,
      founding: row.founding === 1,
      flags: {
        inconsistent: row.inconsistent === 1,
        split: row.split === 1,
        damaged: row.damaged === 1,
        resolving: row.resolving === 1,
      },
      base: checkedJson(historyPointSchema, row.base, this.#path, `base of group ${row.name}`),
    };
  }
}
