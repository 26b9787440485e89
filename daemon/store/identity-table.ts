/** Who this store is (R1): made with the data directory, the same ever after. */
import { Type } from '@sinclair/typebox';
import type { StoreId } from '../../wal/frame.ts';
import type { Database } from './database.ts';
import { storeCorrupt, wrongIdentity } from './errors.ts';
import { checkedRow, identifierSchema } from './rows.ts';

export const identityTableSql = `
  CREATE TABLE identity (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    store_id TEXT NOT NULL,
    cluster TEXT NOT NULL,
    site TEXT NOT NULL,
    peer_store_id TEXT
  ) STRICT;
`;

const rowSchema = Type.Object({
  store_id: identifierSchema,
  cluster: Type.String({ minLength: 1 }),
  site: Type.String({ minLength: 1 }),
  peer_store_id: Type.Union([identifierSchema, Type.Null()]),
});

export interface StoreIdentity {
  readonly storeId: StoreId;
  readonly cluster: string;
  readonly site: string;
}

export class IdentityTable {
  readonly identity: StoreIdentity;
  #peerStoreId: StoreId | undefined;
  readonly #setPeer;

  /** Makes the identity in an empty store, or checks that the store is this site's. */
  constructor(
    database: Database,
    path: string,
    wanted: { readonly cluster: string; readonly site: string; readonly newId: () => StoreId },
  ) {
    this.#setPeer = database.prepare('UPDATE identity SET peer_store_id = ? WHERE only = 1');
    const select = database.prepare('SELECT * FROM identity WHERE only = 1');
    if (select.get() === undefined) {
      const { cluster, site, newId } = wanted;
      database
        .prepare('INSERT INTO identity (only, store_id, cluster, site) VALUES (1, ?, ?, ?)')
        .run(newId(), cluster, site);
    }
    const found: unknown = select.get();
    if (found === undefined) throw storeCorrupt(path, 'it has no identity');
    const row = checkedRow(rowSchema, found, path, 'identity');
    if (row.cluster !== wanted.cluster) {
      throw wrongIdentity('cluster', path, row.cluster, wanted.cluster);
    }
    if (row.site !== wanted.site) throw wrongIdentity('site', path, row.site, wanted.site);
    this.identity = { storeId: row.store_id, cluster: row.cluster, site: row.site };
    this.#peerStoreId = row.peer_store_id ?? undefined;
  }

  /** The peer's store as it was last seen; undefined before the sites have ever met. */
  get peerStoreId(): StoreId | undefined {
    return this.#peerStoreId;
  }

  /** Durable when it returns. */
  setPeerStoreId(storeId: StoreId): void {
    if (storeId === this.#peerStoreId) return;
    this.#setPeer.run(storeId);
    this.#peerStoreId = storeId;
  }
}
