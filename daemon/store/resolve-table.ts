/**
 * Groups whose side here was given up after a split, and is not yet a copy of the other one (R36):
 * a row as long as that lasts, with what has to be known to go on after a restart.
 */
import { type Static, Type } from '@sinclair/typebox';
import type { GroupId } from '../../wal/frame.ts';
import type { Database } from './database.ts';
import { checkedJson, checkedRow, countSchema } from './rows.ts';

export const resolveTableSql = `
  CREATE TABLE resolving (
    group_id TEXT PRIMARY KEY,
    document TEXT NOT NULL
  ) STRICT;
`;

const resolveSchema = Type.Object({
  startedAtMs: Type.Number({ minimum: 0 }),
  /** No epoch above this one is known here: the other side's has to be newer. */
  epoch: countSchema,
  /** What this side had changed is kept aside, durably. */
  keptAside: Type.Boolean(),
});

export type StoredResolve = Readonly<Static<typeof resolveSchema>>;

/** Given up once and only once: not before a promotion by force, and again after it. */
export function isSameResolve(one: StoredResolve | undefined, other: StoredResolve): boolean {
  return one?.startedAtMs === other.startedAtMs && one.epoch === other.epoch;
}

const rowSchema = Type.Object({ document: Type.String() });

export class ResolveTable {
  readonly #path: string;
  readonly #statements;

  constructor(database: Database, path: string) {
    this.#path = path;
    this.#statements = {
      load: database.prepare('SELECT document FROM resolving WHERE group_id = ?'),
      save: database.prepare(
        `INSERT INTO resolving (group_id, document) VALUES (?, ?)
         ON CONFLICT (group_id) DO UPDATE SET document = excluded.document`,
      ),
      delete: database.prepare('DELETE FROM resolving WHERE group_id = ?'),
    };
  }

  load(groupId: GroupId): StoredResolve | undefined {
    const found: unknown = this.#statements.load.get(groupId);
    if (found === undefined) return undefined;
    const what = `the end of the split of group ${groupId}`;
    const { document } = checkedRow(rowSchema, found, this.#path, what);
    return checkedJson(resolveSchema, document, this.#path, what);
  }

  save(groupId: GroupId, resolve: StoredResolve): void {
    this.#statements.save.run(groupId, JSON.stringify(resolve));
  }

  delete(groupId: GroupId): void {
    this.#statements.delete.run(groupId);
  }
}
