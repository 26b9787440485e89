/**
 * What happened at this site, for operators (`casemate events`). In a database of its own, whose
 * commits do not wait for the disk: events come in bursts when things go wrong, and that is no time
 * to hold up the process. A power cut may cost the last few; a damaged file is set aside.
 */
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Type } from '@sinclair/typebox';
import { CasemateError } from '../errors.ts';
import type { SiteEvent } from '../site-status.ts';
import { type Database, type DatabaseFormat, type OpenDatabase, openDatabase } from './database.ts';
import { checkedRow, countSchema } from './rows.ts';

const format: DatabaseFormat = {
  applicationId: 0x43_73_6d_45,
  durability: 'normal',
  migrations: [
    `CREATE TABLE event (
       number INTEGER PRIMARY KEY AUTOINCREMENT,
       at_ms INTEGER NOT NULL,
       level TEXT NOT NULL,
       code TEXT NOT NULL,
       group_name TEXT,
       text TEXT NOT NULL
     ) STRICT;`,
    `ALTER TABLE event ADD COLUMN by_who TEXT;
     ALTER TABLE event ADD COLUMN by_role TEXT;
     ALTER TABLE event ADD COLUMN by_from TEXT;`,
  ],
};

const optionalText = Type.Union([Type.String(), Type.Null()]);

const rowSchema = Type.Object({
  number: countSchema,
  at_ms: countSchema,
  level: Type.Union([Type.Literal('info'), Type.Literal('warn'), Type.Literal('error')]),
  code: Type.String(),
  group_name: optionalText,
  text: Type.String(),
  by_who: optionalText,
  by_role: Type.Union([
    Type.Literal('read'),
    Type.Literal('operate'),
    Type.Literal('none'),
    Type.Null(),
  ]),
  by_from: optionalText,
});

/** An event before it has its number. */
export type NewEvent = Omit<SiteEvent, 'number'>;

export class EventLog {
  readonly #database: Database;
  readonly #path: string;
  readonly #countMax: number;
  readonly #statements;

  constructor(database: Database, path: string, countMax: number) {
    this.#database = database;
    this.#path = path;
    this.#countMax = countMax;
    this.#statements = {
      append: database.prepare(
        'INSERT INTO event (at_ms, level, code, group_name, text, by_who, by_role, by_from) ' +
          'VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
      ),
      prune: database.prepare(
        'DELETE FROM event WHERE number <= (SELECT max(number) FROM event) - ?',
      ),
      list: database.prepare('SELECT * FROM event ORDER BY number DESC LIMIT ?'),
    };
  }

  /** Opens the events of a data directory; of damaged ones a copy is kept. */
  static open(directory: string, countMax: number, open: OpenDatabase = openDatabase): EventLog {
    const path = join(directory, 'events.sqlite');
    try {
      return new EventLog(open(path, format), path, countMax);
    } catch (error) {
      if (!(error instanceof CasemateError) || error.code !== 'ERR_STORE_CORRUPT') throw error;
      setAside(path);
      return new EventLog(open(path, format), path, countMax);
    }
  }

  /** Adds an event; the oldest beyond the limit go. */
  append(event: NewEvent): void {
    const { atMs, level, code, group, text, by } = event;
    const who = [by?.who ?? null, by?.role ?? null, by?.from ?? null];
    this.#statements.append.run(Math.trunc(atMs), level, code, group ?? null, text, ...who);
    this.#statements.prune.run(this.#countMax);
  }

  /** The newest events, newest first. */
  list(options: { readonly limit: number }): SiteEvent[] {
    return this.#statements.list.all(options.limit).map((found) => {
      const row = checkedRow(rowSchema, found, this.#path, 'an event');
      const { number, at_ms: atMs, level, code, group_name: group, text } = row;
      const event = { number, atMs, level, code, group: group ?? undefined, text };
      const { by_who: who, by_role: role, by_from: from } = row;
      return who === null || role === null || from === null
        ? event
        : { ...event, by: { who, role, from } };
    });
  }

  close(): void {
    this.#database.close();
  }
}

function setAside(path: string): void {
  renameSync(path, `${path}.damaged`);
  rmSync(`${path}-wal`, { force: true });
  rmSync(`${path}-shm`, { force: true });
}
