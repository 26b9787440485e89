/**
 * The pair protocol of one group on one site, without I/O: events in, effects out (PROTOCOL.md
 * names the rules). The state is in `state.ts`; handlers are grouped by phase: `link-state.ts`
 * (sessions), `join.ts` (R22-R25), `steady.ts` (R16-R19, R21, R32, R33), `joining-peer.ts` (R17),
 * `swaps.ts` and `outcomes.ts` (R10-R15), `timers.ts` (R9, R12, R14). This file only dispatches
 * and watches what changed.
 *
 * A failed assertion in here is a broken invariant: the process has to end, a dead site is safe.
 */
import assert from 'node:assert/strict';
import type { CoreEffect, CoreEvent, CoreView } from './events.ts';
import { onRestFetched } from './history-rest.ts';
import { onHello, onWelcome } from './join.ts';
import { currentSession, onRefuse, onSessionClosed, onSessionOpened } from './link-state.ts';
import type { PairMessage } from './messages.ts';
import { onCreated, onForced, onForcing, onSwapLost, onSwapWon } from './outcomes.ts';
import { noteNumber, onConfirmReads } from './read-confirmation.ts';
import { onResolving } from './resolve.ts';
import { onResyncBegun, onResynced, onResyncFailed, onStageDropped } from './resync.ts';
import type { CoreOptions } from './state.ts';
import { CoreState, changeFlags, otherMember, wantsSession } from './state.ts';
import {
  onAck,
  onCheckpointed,
  onDurable,
  onFrameFormed,
  onFrameReceived,
  onHeartbeat,
  onLogFailed,
  onRelease,
  onSent,
} from './steady.ts';
import { learn } from './swaps.ts';
import { decide, onTick } from './timers.ts';
import { buildView, mayAnswer, mayRead, takesReads, takesWrites, waitCode } from './view.ts';

export type { CoreOptions } from './state.ts';

const noEffects: readonly CoreEffect[] = Object.freeze([]);

/** What `viewChanged` watches. */
interface Watched {
  readonly role: string;
  readonly writes: boolean;
  readonly reads: boolean;
  readonly wait: string | undefined;
  readonly link: string;
  readonly session: boolean;
  readonly config: unknown;
  readonly joining: string;
  readonly staged: boolean;
}

export class GroupCore {
  readonly #state: CoreState;
  #view: CoreView | undefined;
  #watched: Watched;
  #waitSinceMs: number | undefined;
  #started = false;

  constructor(options: CoreOptions) {
    this.#state = new CoreState(options);
    this.#watched = watch(this.#state);
    this.#waitSinceMs = options.nowMs;
  }

  /**
   * Takes one event; gives what has to be done, in that order. `nowMs` is the monotonic clock,
   * read after the event was taken from where it came from (R19).
   */
  step(event: CoreEvent, nowMs: number): readonly CoreEffect[] {
    const state = this.#state;
    assert(nowMs >= state.nowMs, 'the clock is monotonic');
    state.nowMs = nowMs;
    if (!this.#started) this.#start();
    dispatch(state, event);
    assert(state.commit <= state.durable, 'commit <= durable (I1)');
    assert(state.durable <= state.end.sequence, 'durable <= end');
    this.#view = undefined;
    this.#noteChanges();
    const { effects } = state;
    if (effects.length === 0) return noEffects;
    state.effects = [];
    return effects;
  }

  /** Cheap; the same object until the next step. */
  view(): CoreView {
    this.#view ??= buildView(this.#state, this.#waitSinceMs);
    return this.#view;
  }

  /** R19: may a batch of reads be answered? `nowMs` is read after they came from their sockets. */
  mayRead(nowMs: number): boolean {
    return mayRead(this.#state, nowMs);
  }

  /** R20: may this site's client be answered a read that had come in full at `receivedAtMs`? */
  mayAnswer(nowMs: number, receivedAtMs: number): boolean {
    return mayAnswer(this.#state, nowMs, receivedAtMs);
  }

  /**
   * Number for the next frame or heartbeat of the session. The lease counts from the time of the
   * last step before this call, which is never later than the sending.
   */
  nextNumber(): number {
    const state = this.#state;
    state.lastNumber += 1;
    noteNumber(state, state.lastNumber);
    if (state.link.kind === 'sending' && state.config !== undefined) {
      state.link.sendTimes.record(state.lastNumber, state.nowMs, state.config.leaseMs);
    }
    return state.lastNumber;
  }

  /** R24: a log that ends below what was acknowledged has lost records. */
  #start(): void {
    this.#started = true;
    const { recovered } = this.#state.options;
    const end = recovered.end.sequence;
    const needed = Math.max(
      recovered.acknowledgedMark,
      recovered.commit,
      recovered.checkpoint.sequence,
    );
    if (end >= needed) return;
    const text = `damaged: the log ends at ${end}, but ${needed} was acknowledged`;
    changeFlags(this.#state, { damaged: true }, text);
  }

  #noteChanges(): void {
    const state = this.#state;
    const before = this.#watched;
    const config = state.config;
    const wait = waitCode(state);
    if (
      before.role === state.role.kind &&
      before.writes === takesWrites(state) &&
      before.reads === takesReads(state) &&
      before.wait === wait &&
      before.link === state.link.kind &&
      before.session === wantsSession(state) &&
      before.config === config &&
      before.joining === state.wait.kind &&
      before.staged === isStaged(state)
    ) {
      return;
    }
    if (before.wait !== wait) this.#waitSinceMs = wait === undefined ? undefined : state.nowMs;
    this.#watched = watch(state);
    state.effects.push({ kind: 'viewChanged' });
  }
}

function watch(state: CoreState): Watched {
  return {
    role: state.role.kind,
    writes: takesWrites(state),
    reads: takesReads(state),
    wait: waitCode(state),
    link: state.link.kind,
    session: wantsSession(state),
    config: state.config,
    joining: state.wait.kind,
    staged: isStaged(state),
  };
}

function isStaged(state: CoreState): boolean {
  if (state.preparing || state.stagedFrom !== undefined) return true;
  return state.link.kind === 'sending' && state.link.staged;
}

function dispatch(state: CoreState, event: CoreEvent): void {
  switch (event.kind) {
    case 'tick':
      onTick(state);
      break;
    case 'sessionOpened':
      onSessionOpened(state, event.session);
      break;
    case 'sessionClosed':
      onSessionClosed(state, event.session);
      decide(state);
      break;
    case 'message':
      if (currentSession(state) === event.session && state.role.kind !== 'stopped') {
        onMessage(state, event.message);
      }
      break;
    case 'frameReceived':
      if (currentSession(state) === event.session && state.role.kind !== 'stopped') {
        onFrameReceived(state, event.number, event.frame);
      }
      break;
    case 'restFetched':
      onRestFetched(state, event.frames);
      decide(state);
      break;
    case 'frameFormed':
      onFrameFormed(state, event.frame);
      break;
    case 'sent':
      if (currentSession(state) === event.session) onSent(state, event.sent);
      break;
    case 'durable':
      onDurable(state, event.sequence);
      break;
    case 'checkpointed':
      onCheckpointed(state, event.checkpoint);
      break;
    case 'logFailed':
      onLogFailed(state);
      break;
    case 'swapWon':
      onSwapWon(state, event.config);
      break;
    case 'swapLost':
      onSwapLost(state, event.current);
      break;
    case 'registerRead':
      learn(state, event.current);
      break;
    case 'confirmReads':
      onConfirmReads(state);
      break;
    case 'switchover':
      onSwitchover(state);
      break;
    case 'forcing':
      onForcing(state);
      break;
    case 'notForced':
      state.forcing = false;
      break;
    case 'forced':
      onForced(state, event.config);
      break;
    case 'resolving':
      onResolving(state, event.keptAside);
      break;
    case 'created':
      onCreated(state, event.config);
      break;
    case 'resyncBegun':
      onResyncBegun(state, event);
      break;
    case 'resyncFailed':
      onResyncFailed(state, event.text);
      break;
    case 'resynced':
      onResynced(state);
      break;
    case 'stageDropped':
      onStageDropped(state, event.to, event);
      break;
    default:
      event satisfies never;
  }
}

function onMessage(state: CoreState, message: PairMessage): void {
  switch (message.kind) {
    case 'hello':
      onHello(state, message);
      decide(state);
      break;
    case 'welcome':
      onWelcome(state, message);
      break;
    case 'heartbeat':
      onHeartbeat(state, message);
      break;
    case 'ack':
      onAck(state, message);
      break;
    case 'release':
      onRelease(state, message);
      break;
    case 'refuse':
      onRefuse(state, message);
      decide(state);
      break;
    default:
      message satisfies never;
  }
}

/** R21: new writes are held from here on; the release leaves when everything is on both sites. */
function onSwitchover(state: CoreState): void {
  const { role, link } = state;
  const ready =
    role.kind === 'reigning' &&
    role.phase === 'open' &&
    state.swap === undefined &&
    link.kind === 'sending' &&
    otherMember(role.config, state.me) === link.peerStore;
  if (!ready) {
    state.event('warn', 'switchover-refused', 'the peer is not in sync or this site not primary');
    return;
  }
  role.phase = 'draining';
  decide(state);
}
