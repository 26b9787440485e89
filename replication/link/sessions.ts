/**
 * The sessions of a link: one life of one group's conversation each, with a number that is never
 * used again (R16). Only the dialer opens:
 *
 *   dialer                         acceptor
 *   willing: open n  ----------->  willing: sessionOpened(n)
 *   sessionOpened(n) <-----------  opened n            (else close n)
 *   ...                            ...
 *   sessionClosed(n) <-----------  close n             (either side, at any time)
 *                    <-----------  willing             (the acceptor has become willing)
 *
 * A side that has closed n, or heard that it is closed, delivers and sends nothing of n any more
 * (R13): the number is forgotten, what still comes for it is dropped. The dialer asks again while
 * it is willing, after a wait that doubles, or at once when `willing` comes, but never twice within
 * `sessionRetryMs`: two sides that don't agree cannot flood each other.
 *
 * Every sessionOpened is followed by one sessionClosed, whoever closed it; never from within a
 * method that the handler called, and always before the group's next sessionOpened.
 */
import assert from 'node:assert/strict';
import type { GroupId } from '../../wal/frame.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { LinkTimeouts } from './limits.ts';
import {
  encodeClose,
  encodeEmpty,
  encodeGroup,
  messageType,
  sessionNumberMax,
} from './wire-format.ts';

export interface SessionEvents {
  sessionOpened(groupId: GroupId, session: number): void;
  sessionClosed(groupId: GroupId, session: number): void;
}

export interface SessionsOptions {
  readonly role: 'dialer' | 'acceptor';
  readonly clock: Clock;
  readonly timeouts: LinkTimeouts;
  readonly events: SessionEvents;
}

type SessionState =
  | { readonly kind: 'none' }
  | { readonly kind: 'opening'; readonly session: number }
  | { readonly kind: 'open'; readonly session: number; readonly openedAtMs: number };

interface Group {
  readonly groupId: GroupId;
  willing: boolean;
  state: SessionState;
  retryMs: number;
  /** When this side last sent open; the least time between two is `sessionRetryMs`. */
  lastOpenAtMs: number;
  cancelRetry: (() => void) | undefined;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #groups = new Map<GroupId, Group>();
  readonly #bySession = new Map<number, Group>();
  #connection: Connection | undefined;
  /** Last number given out (dialer) or seen (acceptor) in the life of this process. */
  #lastSession = 0;
  /** Closed by this side, and not yet told to the handler. */
  #untold: { readonly groupId: GroupId; readonly session: number }[] = [];

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  get lastSession(): number {
    return this.#lastSession;
  }

  get openCount(): number {
    let count = 0;
    for (const group of this.#bySession.values()) if (group.state.kind === 'open') count += 1;
    return count;
  }

  /** The group of an open session, or undefined if nothing of that number is alive. */
  groupOf(session: number): GroupId | undefined {
    const group = this.#bySession.get(session);
    return group?.state.kind === 'open' ? group.groupId : undefined;
  }

  // ---- what this side wants ---------------------------------------------------------------------

  setWilling(groupId: GroupId, willing: boolean): void {
    const group = this.#groups.get(groupId) ?? this.#newGroup(groupId);
    const was = group.willing;
    group.willing = willing;
    if (!willing) {
      this.#cancelRetry(group);
      if (group.state.kind === 'opening') this.#withdraw(group, group.state.session);
      this.#forgetIfIdle(group);
      return;
    }
    if (was || group.state.kind !== 'none') return;
    group.retryMs = this.#options.timeouts.sessionRetryMs;
    this.#askNow(group);
  }

  closeSession(session: number, reason: string): void {
    const group = this.#bySession.get(session);
    if (group?.state.kind !== 'open') return;
    this.#connection?.sendOne(encodeClose(session, reason));
    this.#untold.push({ groupId: group.groupId, session });
    queueMicrotask(() => this.#tellClosed());
    this.#sessionOver(group);
  }

  // ---- the link ---------------------------------------------------------------------------------

  /**
   * Both connections are there. `peerLastSession` is the highest number that the peer has seen in
   * its life: a dialer that was restarted goes on above it, so that at neither site a number ever
   * means two sessions (a late acknowledgement for the old one would count for the new, H15).
   */
  linkUp(connection: Connection, peerLastSession: number): void {
    this.#connection = connection;
    if (this.#options.role === 'dialer') {
      this.#lastSession = Math.max(this.#lastSession, peerLastSession);
    }
    for (const group of [...this.#groups.values()]) {
      group.retryMs = this.#options.timeouts.sessionRetryMs;
      if (group.willing) this.#askNow(group);
    }
  }

  /** The data connection is gone, and every session with it. Called from events only. */
  linkDown(): void {
    this.#connection = undefined;
    this.#bySession.clear();
    const closed: { groupId: GroupId; session: number }[] = [];
    for (const group of [...this.#groups.values()]) {
      this.#cancelRetry(group);
      const { state, groupId } = group;
      if (state.kind === 'open') closed.push({ groupId, session: state.session });
      group.state = { kind: 'none' };
      this.#forgetIfIdle(group);
    }
    this.#tellClosed();
    for (const { groupId, session } of closed) {
      this.#options.events.sessionClosed(groupId, session);
    }
  }

  // ---- what the peer says; each gives what it did wrong, or undefined ---------------------------

  onOpen(session: number, groupId: GroupId): string | undefined {
    if (this.#options.role === 'dialer') return 'only the dialer opens sessions';
    if (session <= this.#lastSession) return `session ${session} was opened before`;
    if (session > sessionNumberMax) return `session number ${session} is too large`;
    this.#lastSession = session;
    const connection = this.#connection;
    assert(connection, 'nothing is received before the link is up');
    const group = this.#groups.get(groupId);
    if (group === undefined || !group.willing) {
      connection.sendOne(encodeClose(session, 'not willing now'));
      return undefined;
    }
    if (group.state.kind !== 'none') return 'the group has an open session already';
    group.state = { kind: 'open', session, openedAtMs: this.#options.clock.nowMs() };
    this.#bySession.set(session, group);
    connection.sendOne(encodeEmpty(messageType.opened, session));
    this.#tellClosed();
    this.#options.events.sessionOpened(groupId, session);
    return undefined;
  }

  onOpened(session: number): string | undefined {
    if (this.#options.role === 'acceptor') return 'only the acceptor answers opened';
    const group = this.#bySession.get(session);
    if (group === undefined) return undefined;
    if (group.state.kind !== 'opening') return `session ${session} is open already`;
    group.state = { kind: 'open', session, openedAtMs: this.#options.clock.nowMs() };
    this.#tellClosed();
    this.#options.events.sessionOpened(group.groupId, session);
    return undefined;
  }

  onClose(session: number): void {
    const group = this.#bySession.get(session);
    if (group === undefined) return;
    const wasOpen = group.state.kind === 'open';
    this.#sessionOver(group);
    if (wasOpen) this.#options.events.sessionClosed(group.groupId, session);
  }

  onWilling(groupId: GroupId): string | undefined {
    if (this.#options.role === 'acceptor') return 'only the acceptor says that it is willing';
    const group = this.#groups.get(groupId);
    if (group === undefined || !group.willing || group.state.kind !== 'none') return undefined;
    group.retryMs = this.#options.timeouts.sessionRetryMs;
    this.#askNow(group);
    return undefined;
  }

  // ---- inside -----------------------------------------------------------------------------------

  #newGroup(groupId: GroupId): Group {
    const group: Group = {
      groupId,
      willing: false,
      state: { kind: 'none' },
      retryMs: this.#options.timeouts.sessionRetryMs,
      lastOpenAtMs: Number.NEGATIVE_INFINITY,
      cancelRetry: undefined,
    };
    this.#groups.set(groupId, group);
    return group;
  }

  /** A session is wanted now: the dialer opens it, the acceptor says that it would take it. */
  #askNow(group: Group): void {
    if (this.#connection === undefined) return;
    if (this.#options.role === 'acceptor') {
      this.#connection.sendOne(encodeGroup(messageType.willing, 0, group.groupId));
      return;
    }
    this.#openAfter(group, 0);
  }

  #openAfter(group: Group, delayMs: number): void {
    const { clock, timeouts } = this.#options;
    this.#cancelRetry(group);
    const nowMs = clock.nowMs();
    const atMs = Math.max(nowMs + delayMs, group.lastOpenAtMs + timeouts.sessionRetryMs);
    if (atMs <= nowMs) {
      this.#open(group);
      return;
    }
    group.cancelRetry = clock.setTimer(atMs - nowMs, () => {
      group.cancelRetry = undefined;
      this.#open(group);
    });
  }

  #open(group: Group): void {
    const connection = this.#connection;
    assert(connection, 'retries are cancelled when the link goes down');
    assert(group.willing, 'retries are cancelled when this side is not willing any more');
    assert(group.state.kind === 'none', 'a group has one session at a time');
    this.#lastSession += 1;
    const session = this.#lastSession;
    group.state = { kind: 'opening', session };
    group.lastOpenAtMs = this.#options.clock.nowMs();
    this.#bySession.set(session, group);
    connection.sendOne(encodeGroup(messageType.open, session, group.groupId));
  }

  /** Takes back an open that has not been answered; a late `opened` finds nothing. */
  #withdraw(group: Group, session: number): void {
    this.#connection?.sendOne(encodeClose(session, 'no longer wanted'));
    this.#bySession.delete(session);
    group.state = { kind: 'none' };
  }

  #sessionOver(group: Group): void {
    const { state } = group;
    assert(state.kind !== 'none', 'a session that ends was there');
    this.#bySession.delete(state.session);
    group.state = { kind: 'none' };
    const { clock, timeouts, role } = this.#options;
    const livedMs = state.kind === 'open' ? clock.nowMs() - state.openedAtMs : 0;
    if (livedMs >= timeouts.sessionRetryMsMax) group.retryMs = timeouts.sessionRetryMs;
    if (group.willing && role === 'dialer') {
      this.#openAfter(group, group.retryMs);
      group.retryMs = Math.min(2 * group.retryMs, timeouts.sessionRetryMsMax);
    }
    this.#forgetIfIdle(group);
  }

  #tellClosed(): void {
    const untold = this.#untold;
    if (untold.length === 0) return;
    this.#untold = [];
    for (const { groupId, session } of untold) this.#options.events.sessionClosed(groupId, session);
  }

  #cancelRetry(group: Group): void {
    group.cancelRetry?.();
    group.cancelRetry = undefined;
  }

  #forgetIfIdle(group: Group): void {
    if (!group.willing && group.state.kind === 'none') this.#groups.delete(group.groupId);
  }
}
