/**
 * Where each group's data files are (R1): the checkpoint, the epochs at or below it, and the
 * volumes as they were there. Everything after it is in the log, so that a cut of the log never
 * touches the store. All groups of one checkpoint change in one transaction, before any log segment
 * is freed (R27).
 */
import { Type } from '@sinclair/typebox';
import type { EpochEntry, GroupConfig } from '../../replication/core/config.ts';
import type { GroupId, HistoryPoint } from '../../wal/frame.ts';
import type { Database } from './database.ts';
import type { StoredChunk } from './extent-table.ts';
import {
  checkedJson,
  checkedRow,
  countSchema,
  epochHistorySchema,
  flagSchema,
  groupConfigSchema,
  identifierSchema,
} from './rows.ts';

export const checkpointTableSql = `
  CREATE TABLE checkpoint (
    group_id TEXT PRIMARY KEY REFERENCES consistency_group (group_id),
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    acknowledged_mark INTEGER NOT NULL,
    epoch_history TEXT NOT NULL,
    config TEXT
  ) STRICT;
  CREATE TABLE volume (
    group_id TEXT NOT NULL REFERENCES consistency_group (group_id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    PRIMARY KEY (group_id, number)
  ) STRICT, WITHOUT ROWID;
`;

/** A volume as of a checkpoint. A removed one stays, so that its number is never used again. */
export interface StoredVolume {
  readonly volume: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly removed: boolean;
}

export interface StoredCheckpoint {
  readonly groupId: GroupId;
  readonly checkpoint: HistoryPoint;
  /** Epochs that begin at or below the checkpoint, oldest first. */
  readonly epochHistory: readonly EpochEntry[];
  /** Configuration of the last epochStart record at or below the checkpoint, if there is one. */
  readonly config: GroupConfig | undefined;
  /** Everything up to here was acknowledged: recovery that ends below it is damage (R30). */
  readonly acknowledgedMark: number;
  readonly volumes: readonly StoredVolume[];
  /** What has changed of the dirty map; never read back with a checkpoint (R27). */
  readonly chunks?: readonly StoredChunk[];
}

const checkpointRow = Type.Object({
  group_id: identifierSchema,
  sequence: countSchema,
  digest: identifierSchema,
  acknowledged_mark: countSchema,
  epoch_history: Type.String(),
  config: Type.Union([Type.String(), Type.Null()]),
});

const volumeRow = Type.Object({
  group_id: identifierSchema,
  number: countSchema,
  name: Type.String({ minLength: 1 }),
  size_bytes: countSchema,
  removed: flagSchema,
});

export class CheckpointTable {
  readonly #path: string;
  readonly #statements;

  constructor(database: Database, path: string) {
    this.#path = path;
    this.#statements = {
      save: database.prepare(
        `INSERT INTO checkpoint
           (group_id, sequence, digest, acknowledged_mark, epoch_history, config)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (group_id) DO UPDATE SET
           sequence = excluded.sequence, digest = excluded.digest,
           acknowledged_mark = excluded.acknowledged_mark,
           epoch_history = excluded.epoch_history, config = excluded.config`,
      ),
      saveVolume: database.prepare(
        'INSERT INTO volume (group_id, number, name, size_bytes, removed) VALUES (?, ?, ?, ?, ?)',
      ),
      deleteVolumes: database.prepare('DELETE FROM volume WHERE group_id = ?'),
      delete: database.prepare('DELETE FROM checkpoint WHERE group_id = ?'),
      checkpoints: database.prepare('SELECT * FROM checkpoint ORDER BY group_id'),
      volumes: database.prepare('SELECT * FROM volume ORDER BY group_id, number'),
    };
  }

  /** Keeps the checkpoints of all these groups; to be called within a transaction. */
  save(entries: readonly StoredCheckpoint[]): void {
    for (const entry of entries) this.#save(entry);
  }

  load(): Map<GroupId, StoredCheckpoint> {
    const volumes = this.#loadVolumes();
    const checkpoints = new Map<GroupId, StoredCheckpoint>();
    for (const found of this.#statements.checkpoints.all()) {
      const row = checkedRow(checkpointRow, found, this.#path, 'a checkpoint');
      const what = `checkpoint of group ${row.group_id}`;
      checkpoints.set(row.group_id, {
        groupId: row.group_id,
        checkpoint: { sequence: row.sequence, digest: row.digest },
        epochHistory:
          checkedJson(epochHistorySchema, row.epoch_history, this.#path, `epochs of ${what}`) ?? [],
        config: checkedJson(groupConfigSchema, row.config, this.#path, `configuration of ${what}`),
        acknowledgedMark: row.acknowledged_mark,
        volumes: volumes.get(row.group_id) ?? [],
      });
    }
    return checkpoints;
  }

  /** Forgets a group that was removed. */
  delete(groupId: GroupId): void {
    this.#statements.deleteVolumes.run(groupId);
    this.#statements.delete.run(groupId);
  }

  #save(entry: StoredCheckpoint): void {
    const { groupId, checkpoint, acknowledgedMark, epochHistory, config } = entry;
    this.#statements.save.run(
      groupId,
      checkpoint.sequence,
      checkpoint.digest,
      acknowledgedMark,
      JSON.stringify(epochHistory),
      config === undefined ? null : JSON.stringify(config),
    );
    this.#statements.deleteVolumes.run(groupId);
    for (const { volume, name, sizeBytes, removed } of entry.volumes) {
      this.#statements.saveVolume.run(groupId, volume, name, sizeBytes, Number(removed));
    }
  }

  #loadVolumes(): Map<GroupId, StoredVolume[]> {
    const volumes = new Map<GroupId, StoredVolume[]>();
    for (const found of this.#statements.volumes.all()) {
      const row = checkedRow(volumeRow, found, this.#path, 'a volume');
      const list = volumes.get(row.group_id) ?? [];
      const { number, name, size_bytes: sizeBytes } = row;
      list.push({ volume: number, name, sizeBytes, removed: row.removed === 1 });
      volumes.set(row.group_id, list);
    }
    return volumes;
  }
}
