/**
 * Opening and closing the session with the peer (R13, R15, R16): whatever belongs to a session dies
 * here with it. Sessions are numbered by the driver; a message or event of another session than
 * the current one is never looked at.
 */
import assert from 'node:assert/strict';
import { cut } from './cut.ts';
import type { RefuseMessage } from './messages.ts';
import type { CoreState, Link } from './state.ts';
import { committedFloor, noConfirmation, noteDamage, wantsSession } from './state.ts';
import { abandonWait } from './wait.ts';

export function currentSession(state: CoreState): number | undefined {
  return state.link.kind === 'closed' ? undefined : state.link.session;
}

export function onSessionOpened(state: CoreState, session: number): void {
  if (!wantsSession(state)) {
    state.effects.push({
      kind: 'closeSession',
      session,
      reason: 'a change of the configuration is pending',
    });
    return;
  }
  if (state.link.kind !== 'closed') dropLink(state, true);
  state.link = {
    kind: 'open',
    session,
    sinceMs: state.nowMs,
    helloSent: false,
    peerHello: undefined,
  };
  sendHelloWhenQuiet(state);
}

export function onSessionClosed(state: CoreState, session: number): void {
  if (currentSession(state) !== session) return;
  dropLink(state, true);
}

/** Closes the session on this site's wish. */
export function closeLink(state: CoreState, reason: string): void {
  const session = currentSession(state);
  if (session === undefined) return;
  dropLink(state, false);
  state.effects.push({ kind: 'closeSession', session, reason });
  state.event('info', 'group-session', `session closed: ${reason}`);
}

function dropLink(state: CoreState, lost: boolean): void {
  const { link } = state;
  // A session that broke before the peer's first answer is tried again for `connectMs` (R15).
  const inUse = link.kind === 'joined' || (link.kind === 'sending' && link.peerDurable > 0);
  if (state.link.kind === 'sending') state.effects.push({ kind: 'stopSending' });
  state.link = { kind: 'closed', sinceMs: state.nowMs, lost: lost && inUse };
  state.confirmation = noConfirmation;
  abandonWait(state, 'the session with the joining peer has ended');
}

/**
 * Says hello once everything in the own log is durable. A site that follows appends nothing
 * between its hello and its join, so no `durable` of a tail that was cut can come late and be
 * taken for one of the frames that replaced it (H20). A site that reigns is not cut on this
 * session: it says hello at once.
 *
 * A log without room does not become quiet by itself, and may not have room again before this site
 * has joined and learnt what is committed. What it has not taken in yet was acknowledged to nobody:
 * it is cut off, and comes again.
 */
export function sendHelloWhenQuiet(state: CoreState): void {
  const { link, options } = state;
  if (link.kind !== 'open' || link.helloSent || state.preparing) return;
  if (state.role.kind !== 'reigning' && state.durable !== state.end.sequence) {
    const durable = state.pointAt(state.durable);
    if (!options.logWaitsForRoom() || durable === undefined || state.swap !== undefined) return;
    cut(state, durable);
  }
  link.helloSent = true;
  state.effects.push({
    kind: 'send',
    session: link.session,
    message: {
      kind: 'hello',
      storeId: state.me,
      groupId: options.groupId,
      config: state.config,
      epochHistory: [...state.epochHistory],
      end: state.end,
      checkpoint: state.checkpoint,
      committedFloor: committedFloor(state),
      base: state.base,
      flags: state.flags,
      logStart: options.logStart(),
      volumes: options.volumes(),
      staged: state.stagedFrom === undefined ? undefined : { from: state.stagedFrom },
      needsResync: state.needsResync,
    },
  });
}

/** Tells the peer why the two do not work together, and stays so for this session. */
export function refuse(state: CoreState, code: RefuseMessage['code'], text: string): void {
  const session = currentSession(state);
  assert(session !== undefined, 'only an open session is refused');
  state.effects.push({ kind: 'send', session, message: { kind: 'refuse', code, text } });
  enterRefused(state, session, code, text);
}

export function onRefuse(state: CoreState, message: RefuseMessage): void {
  const session = currentSession(state);
  assert(session !== undefined, 'a message comes on an open session');
  const { code, text } = message;
  // Before anything else: without the mark this site could take over what it does not have (H31).
  if ((code === 'damaged' || code === 'diverged') && state.role.kind !== 'reigning') {
    noteDamage(state, text);
  }
  enterRefused(state, session, message.code, `the peer refuses: ${message.text}`);
}

function enterRefused(
  state: CoreState,
  session: number,
  code: RefuseMessage['code'],
  text: string,
): void {
  const peerHello = helloOf(state.link);
  if (state.link.kind === 'sending') state.effects.push({ kind: 'stopSending' });
  state.link = { kind: 'refused', session, peerHello, code, text };
  abandonWait(state, 'the joining peer was refused');
  state.event('error', 'group-refused', `the two sites do not work together (${code}): ${text}`);
}

function helloOf(link: Link): Extract<Link, { kind: 'refused' }>['peerHello'] {
  return link.kind === 'open' || link.kind === 'refused' ? link.peerHello : undefined;
}
