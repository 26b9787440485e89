/**
 * The resync that a group of this site is in the middle of (R26). While there is a row, the log has
 * the frames that follow the row's checkpoint, and the group's own checkpoint row is the old image,
 * to which the group goes back when the stage is dropped. The row is made, moved on and ended in
 * one transaction with everything that belongs to it.
 */
import { type Static, Type } from '@sinclair/typebox';
import type { EpochEntry, GroupConfig } from '../../replication/core/config.ts';
import type { GroupId } from '../../wal/frame.ts';
import type { StoredVolume } from './checkpoint-table.ts';
import type { Database } from './database.ts';
import { storeCorrupt } from './errors.ts';
import {
  checkedJson,
  checkedRow,
  countSchema,
  epochHistorySchema,
  groupConfigSchema,
  historyPointSchema,
  identifierSchema,
} from './rows.ts';

export const stageTableSql = `
  CREATE TABLE resync_stage (
    group_id TEXT PRIMARY KEY REFERENCES consistency_group (group_id),
    document TEXT NOT NULL
  ) STRICT;
`;

const stageSchema = Type.Object({
  groupId: identifierSchema,
  /**
   * `staged`: beside the data files, which are the old image. `in-place`: into the data files, the
   * group is inconsistent. `merging`: complete, and what is in the stage moves into the files.
   * `dropped`: given up, the old image counts; the log may still have what followed the stage.
   */
  state: Type.Union([
    Type.Literal('staged'),
    Type.Literal('in-place'),
    Type.Literal('merging'),
    Type.Literal('dropped'),
  ]),
  /** Everything that is allocated, not only what has changed since `base`. */
  full: Type.Boolean(),
  base: Type.Optional(historyPointSchema),
  /** Frames follow from here (s0). */
  from: historyPointSchema,
  /** The copy is whole only when everything up to here is applied. */
  reach: countSchema,
  /** The newest record that can be in what came from a reign of the source, by its epoch. */
  reaches: Type.Optional(Type.Array(Type.Object({ epoch: countSchema, reach: countSchema }))),
  startedAtMs: Type.Number({ minimum: 0 }),
  /** Where the stage itself is: the group's checkpoint as long as it is staged or in place. */
  checkpoint: historyPointSchema,
  epochHistory: epochHistorySchema,
  config: Type.Optional(groupConfigSchema),
  volumes: Type.Array(
    Type.Object({
      volume: countSchema,
      name: Type.String({ minLength: 1 }),
      sizeBytes: countSchema,
      removed: Type.Boolean(),
    }),
  ),
});

export type StoredStage = Readonly<
  Omit<Static<typeof stageSchema>, 'config' | 'epochHistory' | 'volumes'>
> & {
  readonly epochHistory: readonly EpochEntry[];
  readonly config?: GroupConfig;
  readonly volumes: readonly StoredVolume[];
};

const rowSchema = Type.Object({ document: Type.String() });

export class StageTable {
  readonly #path: string;
  readonly #statements;

  constructor(database: Database, path: string) {
    this.#path = path;
    this.#statements = {
      load: database.prepare('SELECT document FROM resync_stage WHERE group_id = ?'),
      save: database.prepare(
        `INSERT INTO resync_stage (group_id, document) VALUES (?, ?)
         ON CONFLICT (group_id) DO UPDATE SET document = excluded.document`,
      ),
      delete: database.prepare('DELETE FROM resync_stage WHERE group_id = ?'),
    };
  }

  load(groupId: GroupId): StoredStage | undefined {
    const found: unknown = this.#statements.load.get(groupId);
    if (found === undefined) return undefined;
    const what = `the resync of group ${groupId}`;
    const { document } = checkedRow(rowSchema, found, this.#path, what);
    const stage = checkedJson(stageSchema, document, this.#path, what);
    if (stage?.groupId !== groupId) throw storeCorrupt(this.#path, `${what} is another group's`);
    return stage;
  }

  /** To be called within a transaction, like all that follow. */
  save(stage: StoredStage): void {
    this.#statements.save.run(stage.groupId, JSON.stringify(stage));
  }

  delete(groupId: GroupId): void {
    this.#statements.delete.run(groupId);
  }
}
