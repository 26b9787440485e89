/**
 * What this site promised and accepted as an acceptor of the register (R1, R4). Kept for ever: an
 * acceptor that forgets could let two configurations win the same epoch.
 */
import { Type } from '@sinclair/typebox';
import type { AcceptorState, AcceptorStore } from '../../replication/register/acceptor.ts';
import { isAcceptorState } from '../../replication/register/messages.ts';
import type { GroupId, StoreId } from '../../wal/frame.ts';
import { type Database, together } from './database.ts';
import { storeCorrupt } from './errors.ts';
import { checkedRow } from './rows.ts';

export const acceptorTableSql = `
  CREATE TABLE acceptor (
    group_id TEXT PRIMARY KEY,
    state TEXT NOT NULL
  ) STRICT;
`;

const rowSchema = Type.Object({ state: Type.String() });

export class AcceptorTable implements AcceptorStore {
  /** Everything that is saved meanwhile is durable, with one sync, when it returns (R4). */
  readonly together: (run: () => void) => void;
  readonly #path: string;
  readonly #statements;

  constructor(database: Database, path: string) {
    this.#path = path;
    this.together = together(database, path);
    this.#statements = {
      load: database.prepare('SELECT state FROM acceptor WHERE group_id = ?'),
      save: database.prepare(
        `INSERT INTO acceptor (group_id, state) VALUES (?, ?)
         ON CONFLICT (group_id) DO UPDATE SET state = excluded.state`,
      ),
    };
  }

  /** The state as it was saved (the acceptor checks what it is), or undefined if there is none. */
  load(groupId: GroupId): unknown {
    const found: unknown = this.#statements.load.get(groupId);
    if (found === undefined) return undefined;
    const { state } = checkedRow(rowSchema, found, this.#path, 'an acceptor state');
    try {
      return JSON.parse(state);
    } catch (error) {
      throw storeCorrupt(this.#path, `acceptor state of group ${groupId} is no JSON`, error);
    }
  }

  /**
   * The operator gives up what was forced at this site alone (R36): its acceptor hears others
   * again. What it promised stays; without a value it is blank, which needs all other acceptors.
   */
  releaseForced(groupId: GroupId, own: StoreId): void {
    const state = this.load(groupId);
    if (!isAcceptorState(state) || state.value === undefined) return;
    const { promised, value } = state;
    const alone = value.acceptors.length === 1 && value.acceptors[0] === own;
    if (!alone || value.forced === undefined || value.primary !== own) return;
    this.save(groupId, promised === undefined ? {} : { promised });
  }

  /** Durable when it returns, or `together` around it does: only then may the acceptor answer. */
  save(groupId: GroupId, state: AcceptorState): void {
    this.#statements.save.run(groupId, JSON.stringify(state));
  }
}
