/**
 * SQLite as the store uses it: one connection with the file locked for itself, every commit on
 * stable storage (or, where asked for, only safe from a crash of the process). The only file that
 * imports better-sqlite3. Calls are synchronous and may wait for the disk: never on the path of a
 * write.
 */
import { chmodSync, closeSync, constants, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import SQLite from 'better-sqlite3';
import { CasemateError } from '../errors.ts';
import {
  isStoreFull,
  notAStore,
  storeCorrupt,
  storeFull,
  storeInUse,
  storeTooNew,
} from './errors.ts';

export type Database = SQLite.Database;

/** How one kind of database file is laid out; `migrations[n]` brings format n to format n + 1. */
export interface DatabaseFormat {
  /** Written into the file's header: tells our files from other SQLite databases. */
  readonly applicationId: number;
  readonly migrations: readonly string[];
  /** `full`: a commit survives a power cut. `normal`: it survives a crash of the process only. */
  readonly durability: 'full' | 'normal';
}

/** Opens or creates the database at a path and brings it to the newest format. */
export type OpenDatabase = (path: string, format: DatabaseFormat) => Database;

/** How long a file may stay locked by a process that is just ending. */
const busyMs = 1000;

function createPrivateFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  closeSync(file);
  chmodSync(path, 0o600);
  const directory = openSync(dirname(path), constants.O_RDONLY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** A whole number that a pragma gives. */
function pragmaNumber(database: Database, name: string): number {
  const value: unknown = database.pragma(name, { simple: true });
  if (typeof value !== 'number') throw new TypeError(`pragma ${name} gives no number`);
  return value;
}

function migrate(database: Database, path: string, format: DatabaseFormat): void {
  const found = pragmaNumber(database, 'user_version');
  const known = format.migrations.length;
  const applicationId = pragmaNumber(database, 'application_id');
  const empty = pragmaNumber(database, 'schema_version') === 0;
  if (!empty && applicationId !== format.applicationId) throw notAStore(path);
  if (found > known) throw storeTooNew(path, found, known);
  if (found === known) return;
  database.transaction(() => {
    for (const migration of format.migrations.slice(found)) database.exec(migration);
    database.pragma(`application_id = ${format.applicationId}`);
    database.pragma(`user_version = ${known}`);
  })();
}

/** Sets an open database up as the store wants it, checks it, and migrates it. */
export function prepareDatabase(database: Database, path: string, format: DatabaseFormat): void {
  database.pragma('locking_mode = EXCLUSIVE');
  database.pragma('journal_mode = WAL');
  database.pragma(`synchronous = ${format.durability === 'full' ? 'FULL' : 'NORMAL'}`);
  database.pragma('foreign_keys = ON');
  const check: unknown = database.pragma('quick_check(1)', { simple: true });
  if (check !== 'ok') throw storeCorrupt(path, String(check));
  migrate(database, path, format);
  // Takes the lock now, not with the first write: a second daemon has to fail at its start.
  database.exec('BEGIN IMMEDIATE; COMMIT');
}

/**
 * Gives a function that makes everything that `run` saves durable with one sync. It throws
 * ERR_STORE_FULL when there is no room: nothing was kept, and it may be tried again.
 */
export function together(database: Database, path: string): (run: () => void) => void {
  const transaction = database.transaction((run: () => void) => run());
  return (run) => {
    try {
      transaction(run);
    } catch (error) {
      throw isStoreFull(error) ? storeFull(path, error) : error;
    }
  };
}

/** A failure of SQLite in our words; anything else unchanged. */
export function databaseError(error: unknown, path: string): unknown {
  if (error instanceof CasemateError || !(error instanceof SQLite.SqliteError)) return error;
  if (error.code.startsWith('SQLITE_BUSY') || error.code.startsWith('SQLITE_LOCKED')) {
    return storeInUse(path, error);
  }
  if (error.code.startsWith('SQLITE_CORRUPT') || error.code === 'SQLITE_NOTADB') {
    return storeCorrupt(path, error.message, error);
  }
  return error;
}

/**
 * Opens or creates the database at `path` and brings it to the newest format.
 * @throws {CasemateError} ERR_STORE_CORRUPT, ERR_STORE_VERSION, ERR_STORE_FOREIGN, ERR_STORE_IN_USE
 */
export function openDatabase(path: string, format: DatabaseFormat): Database {
  createPrivateFile(path);
  let database: Database | undefined;
  try {
    database = new SQLite(path, { timeout: busyMs });
    prepareDatabase(database, path, format);
    return database;
  } catch (error) {
    database?.close();
    throw databaseError(error, path);
  }
}
