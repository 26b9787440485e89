/**
 * The SQLite databases of one machine, in memory. A commit is durable when its call returns, so a
 * crash leaves them as they were after the last one; a full disk makes commits fail.
 */
import SQLite from 'better-sqlite3';
import {
  type Database,
  type OpenDatabase,
  prepareDatabase,
} from '../../../daemon/store/database.ts';

export class SimulatedDatabases {
  readonly #kept: Map<string, Buffer>;
  readonly #open = new Map<string, Database>();

  constructor(kept: Map<string, Buffer> = new Map()) {
    this.#kept = kept;
  }

  readonly openDatabase: OpenDatabase = (path, format) => {
    const kept = this.#kept.get(path);
    const database = kept === undefined ? new SQLite(':memory:') : new SQLite(kept);
    prepareDatabase(database, path, format);
    this.#open.set(path, database);
    const close = database.close.bind(database);
    database.close = () => {
      this.#kept.set(path, database.serialize());
      return close();
    };
    return database;
  };

  /** What the next life finds; this one's connections stay as they are, of no use to anybody. */
  crash(): SimulatedDatabases {
    const kept = new Map(this.#kept);
    for (const [path, database] of this.#open) {
      if (database.open) kept.set(path, database.serialize());
    }
    return new SimulatedDatabases(kept);
  }

  setFull(full: boolean): void {
    for (const database of this.#open.values()) {
      if (database.open) database.pragma(`max_page_count = ${full ? 1 : 1_000_000}`);
    }
  }
}
