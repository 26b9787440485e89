/**
 * Stores of witnesses that this site has met, by name, newest last: a configuration of the register
 * lists stores, and one that names no site's is a witness's. Kept for ever; there are few.
 */
import { Type } from '@sinclair/typebox';
import type { StoreId } from '../../wal/frame.ts';
import type { Database } from './database.ts';
import { checkedRow, identifierSchema } from './rows.ts';

export const witnessTableSql = `
  CREATE TABLE witness (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    store_id TEXT NOT NULL,
    name TEXT NOT NULL
  ) STRICT;
`;

const rowSchema = Type.Object({ store_id: identifierSchema, name: Type.String() });

export class WitnessTable {
  readonly #insert;
  #seen: readonly { readonly storeId: StoreId; readonly name: string }[];

  constructor(database: Database, path: string) {
    this.#insert = database.prepare('INSERT INTO witness (store_id, name) VALUES (?, ?)');
    const rows = database.prepare('SELECT store_id, name FROM witness ORDER BY number').all();
    this.#seen = rows.map((found) => {
      const row = checkedRow(rowSchema, found, path, 'a witness');
      return { storeId: row.store_id, name: row.name };
    });
  }

  /** The store that the witness of this name had when it was met last. */
  newest(name: string): StoreId | undefined {
    return this.#seen.findLast((each) => each.name === name)?.storeId;
  }

  /** Name of the witness whose store this is or was; undefined if it is none's. */
  nameOf(storeId: StoreId): string | undefined {
    return this.#seen.find((each) => each.storeId === storeId)?.name;
  }

  /** The witness of this name has this store now. Durable when it returns. */
  note(name: string, storeId: StoreId): void {
    if (this.newest(name) === storeId) return;
    this.#insert.run(storeId, name);
    this.#seen = [...this.#seen, { storeId, name }];
  }
}
