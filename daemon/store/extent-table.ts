/**
 * Sets of extents and blocks, in chunks (`wal/sparse-set.ts`): the dirty map (R27), and what a site
 * that is being resynced wants, holds, and has in its stage (R26).
 */
import { Type } from '@sinclair/typebox';
import type { GroupId } from '../../wal/frame.ts';
import type { SetChunk } from '../../wal/sparse-set.ts';
import type { Database } from './database.ts';
import { checkedRow, countSchema } from './rows.ts';

export const extentTableSql = `
  CREATE TABLE extent_chunk (
    group_id TEXT NOT NULL REFERENCES consistency_group (group_id),
    kind TEXT NOT NULL,
    volume INTEGER NOT NULL,
    chunk INTEGER NOT NULL,
    bits BLOB NOT NULL,
    PRIMARY KEY (group_id, kind, volume, chunk)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * `dirty`: changed since the base. `wanted`, `held`: extents that a resync has to get, and has.
 * `stage-data`, `stage-checksums`: blocks of the files that are in the stage, not in the file.
 */
export type ExtentKind = 'dirty' | 'wanted' | 'held' | 'stage-data' | 'stage-checksums';

export const stageKinds: readonly ExtentKind[] = [
  'wanted',
  'held',
  'stage-data',
  'stage-checksums',
];

/** One chunk of one set of a group. */
export interface StoredChunk extends SetChunk {
  readonly kind: ExtentKind;
  readonly volume: number;
}

const rowSchema = Type.Object({
  volume: countSchema,
  chunk: countSchema,
  bits: Type.Uint8Array({ minByteLength: 4096, maxByteLength: 4096 }),
});

export class ExtentTable {
  readonly #path: string;
  readonly #statements;

  constructor(database: Database, path: string) {
    this.#path = path;
    this.#statements = {
      load: database.prepare(
        `SELECT volume, chunk, bits FROM extent_chunk WHERE group_id = ? AND kind = ?
         ORDER BY volume, chunk`,
      ),
      save: database.prepare(
        `INSERT INTO extent_chunk (group_id, kind, volume, chunk, bits) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (group_id, kind, volume, chunk) DO UPDATE SET bits = excluded.bits`,
      ),
      delete: database.prepare(
        `DELETE FROM extent_chunk
         WHERE group_id = ? AND kind = ? AND volume = ? AND chunk = ?`,
      ),
      clear: database.prepare('DELETE FROM extent_chunk WHERE group_id = ? AND kind = ?'),
    };
  }

  load(groupId: GroupId, kind: ExtentKind): StoredChunk[] {
    return this.#statements.load.all(groupId, kind).map((found) => {
      const what = `the ${kind} extents of group ${groupId}`;
      const { volume, chunk, bits } = checkedRow(rowSchema, found, this.#path, what);
      return { kind, volume, chunk, bits };
    });
  }

  /** To be called within a transaction, like all that follow. */
  save(groupId: GroupId, chunks: readonly StoredChunk[]): void {
    for (const { kind, volume, chunk, bits } of chunks) {
      if (bits === undefined) this.#statements.delete.run(groupId, kind, volume, chunk);
      else this.#statements.save.run(groupId, kind, volume, chunk, bits);
    }
  }

  clear(groupId: GroupId, kinds: readonly ExtentKind[]): void {
    for (const kind of kinds) this.#statements.clear.run(groupId, kind);
  }
}
