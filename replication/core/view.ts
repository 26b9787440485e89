/**
 * What the driver, status and metrics read off the core: role, whether it serves, and if not, why
 * and what clears it, in sentences for an operator at three in the morning.
 */
import type { CoreView, PeerState, WaitReason } from './events.ts';
import { isConfirmed } from './read-confirmation.ts';
import type { CoreState } from './state.ts';
import { isInSync, needsPeer, otherMember, quorumWithoutPeer, wantsSession } from './state.ts';

export function takesWrites(state: CoreState): boolean {
  const { role } = state;
  if (role.kind !== 'reigning') return false;
  if (role.phase === 'appending-start' || role.phase === 'draining') return false;
  return state.swap === undefined || state.swap.name === 'add';
}

/** R19, without the lease. */
export function takesReads(state: CoreState): boolean {
  const { role } = state;
  if (role.kind !== 'reigning') return false;
  if (role.phase !== 'open' && role.phase !== 'draining') return false;
  return state.swap === undefined || state.swap.name === 'add';
}

/**
 * R19: the lease is needed while the peer is in sync or waited for, for without it that one may be
 * the primary by now (I4).
 */
export function mayRead(state: CoreState, nowMs: number): boolean {
  const { role } = state;
  if (role.kind !== 'reigning' || !takesReads(state)) return false;
  return !needsPeer(state, role) || nowMs < state.leaseUntilMs;
}

/** R19 and R20, for a read that a client of this site has sent. */
export function mayAnswer(state: CoreState, nowMs: number, receivedAtMs: number): boolean {
  const { role } = state;
  if (role.kind !== 'reigning' || !mayRead(state, nowMs)) return false;
  return !needsPeer(state, role) || isConfirmed(state, receivedAtMs);
}

export function waitCode(state: CoreState): WaitReason['code'] | undefined {
  const { role, flags, config, swap } = state;
  if (role.kind === 'stopped') return role.reason;
  if (role.kind === 'reigning') {
    if (swap?.name === 'drop') return 'peer-lost';
    if (role.phase === 'draining') return 'switchover';
    if (role.phase !== 'open') return 'epoch-start';
    return mayRead(state, state.nowMs) ? undefined : 'lease';
  }
  if (flags.resolving) return 'resolving';
  if (flags.split) return 'split';
  if (flags.damaged) return 'damaged';
  if (flags.inconsistent) return 'inconsistent';
  if (role.kind === 'released') return 'switchover';
  if (swap !== undefined) return 'swap-pending';
  if (config === undefined) return 'starting';
  if (config.primary === state.me) return graceHolds(state) ? 'grace' : 'starting';
  return 'secondary';
}

function graceHolds(state: CoreState): boolean {
  const { config } = state;
  if (config === undefined || state.epochHistory.at(-1)?.epochId === config.epochId) return false;
  return state.nowMs - state.lastAcknowledgedAtMs <= config.graceMs;
}

export function waitReason(state: CoreState): WaitReason | undefined {
  const code = waitCode(state);
  return code === undefined ? undefined : { code, text: waitText(state, code) };
}

function waitText(state: CoreState, code: WaitReason['code']): string {
  switch (code) {
    case 'starting':
      return startingText(state);
    case 'secondary':
      return secondaryText(state);
    case 'peer-lost':
      return quorumWithoutPeer(state)
        ? 'the other site stopped answering and is being taken out of the in-sync set, once the ' +
            'register agrees'
        : 'the other site stopped answering, and without it nothing can be decided';
    case 'swap-pending':
      return (
        `waiting for the register to decide the ${state.swap?.name ?? 'swap'} of this site; it is ` +
        'asked again until it answers, then the group goes on by itself'
      );
    case 'grace':
      return (
        'waiting until no lease of the former primary can be left; that ends by itself after ' +
        `at most ${state.config?.graceMs ?? state.times.graceMs} ms`
      );
    case 'epoch-start':
      return (
        'this site has become primary and waits for the first record of its epoch to be durable ' +
        `on ${state.config?.inSync.length === 1 ? 'its own log' : 'both sites'}; that ends by itself`
      );
    case 'switchover':
      return (
        'a switchover to the peer is under way; the peer goes on in a moment, or this site does ' +
        `again after ${state.times.ackTimeoutMs} ms`
      );
    case 'split':
      return (
        'split: the other site was promoted by force or has another history, and this site may ' +
        'have answered writes that are missing there'
      );
    case 'resolving':
      return (
        'this side of a split was given up: its own changes are kept aside, then it becomes a copy ' +
        'of the other side; that goes on by itself whenever both sites are connected'
      );
    case 'damaged':
      return 'damaged: records that this site had acknowledged are missing or differ';
    case 'inconsistent':
      return 'inconsistent: a resync of this copy was not finished; it serves when one is complete';
    case 'log-failed':
      return (
        'the log of this site failed to write or sync, and nothing after that can be trusted; ' +
        'repair the disk, then restart the daemon'
      );
    case 'lease':
      return (
        'reads wait until the peer acknowledges a heartbeat, so that none can be stale; they ' +
        'resume by themselves with its answer, or when it is dropped'
      );
    case 'removed':
      return 'the group was removed';
    default:
      code satisfies never;
      return code;
  }
}

function startingText(state: CoreState): string {
  if (state.config === undefined) {
    return 'waiting for the register to tell who is primary; it is asked until it answers';
  }
  if (!isInSync(state)) {
    return 'this site is primary in the register but not in sync; only force helps';
  }
  if (state.config.inSync.length > 1 && !quorumWithoutPeer(state)) {
    return (
      'this site was primary and waits for the other one, without which nothing can be decided; ' +
      'if that is lost for good: `casemate promote --force`'
    );
  }
  return `this site was primary and waits up to ${state.times.connectMs} ms for its peer`;
}

function secondaryText(state: CoreState): string {
  const joined = state.link.kind === 'joined';
  if (!isInSync(state)) {
    return joined
      ? 'this site is the secondary and is catching up with the primary'
      : 'this site is not in sync and waits for the primary, which alone has the newest data; if ' +
          'the primary is lost for good: `casemate promote --force`';
  }
  if (joined) return 'this site is the secondary; the peer serves';
  return quorumWithoutPeer(state)
    ? 'the primary is not connected; this site takes over once it has been silent for ' +
        `${state.config?.graceMs ?? state.times.graceMs} ms and the register agrees`
    : 'the primary is not connected, and nobody is there to tell whether it is dead or only cut ' +
        'off; if it is lost for good: `casemate promote --force`';
}

function peerState(state: CoreState): PeerState {
  const { link, role } = state;
  switch (link.kind) {
    case 'closed':
      return { kind: 'disconnected', sinceMs: link.sinceMs };
    case 'open':
      return { kind: link.preparing === true ? 'resyncing' : 'handshaking' };
    case 'refused':
      return { kind: 'refused', code: link.code, text: link.text };
    case 'joined':
      if (state.stagedFrom !== undefined) return { kind: 'resyncing' };
      return isInSync(state) ? { kind: 'in-sync' } : { kind: 'catching-up', remainingRecords: 0 };
    case 'sending': {
      if (role.kind === 'reigning' && role.config.inSync.includes(link.peerStore)) {
        return { kind: 'in-sync' };
      }
      if (link.staged) return { kind: 'resyncing' };
      if (state.wait.kind === 'waiting') return { kind: 'waited-for' };
      const remainingRecords = Math.max(0, state.end.sequence - link.peerDurable);
      return { kind: 'catching-up', remainingRecords };
    }
    default:
      link satisfies never;
      return link;
  }
}

export function buildView(state: CoreState, waitSinceMs: number | undefined): CoreView {
  const { role, link, config } = state;
  const reason = waitReason(state);
  const peer = peerState(state);
  const joinedSession = link.kind === 'joined' ? link.session : undefined;
  return {
    role: viewRole(state),
    config,
    reigning: role.kind === 'reigning',
    takesWrites: takesWrites(state),
    takesReads: takesReads(state),
    swapPending: state.swap !== undefined,
    waitReason: reason,
    waitSinceMs: reason === undefined ? undefined : waitSinceMs,
    peer,
    joinedSession,
    end: state.end,
    commit: state.commit,
    durable: state.durable,
    peerDurable: link.kind === 'sending' ? link.peerDurable : 0,
    peerCheckpoint: state.peerCheckpoint,
    inSyncWithPeer: peer.kind === 'in-sync' && config !== undefined && hasPeer(state),
    resolving: state.flags.resolving,
    staged: state.stagedFrom !== undefined,
    wantsSession: wantsSession(state),
    epochIdOfReign: role.kind === 'reigning' ? role.config.epochId : undefined,
  };
}

function hasPeer(state: CoreState): boolean {
  return state.config !== undefined && otherMember(state.config, state.me) !== undefined;
}

function viewRole(state: CoreState): CoreView['role'] {
  if (state.role.kind === 'reigning') return 'primary';
  if (state.role.kind === 'stopped' || state.config === undefined) return 'none';
  return state.link.kind === 'joined' || state.config.primary !== state.me ? 'secondary' : 'none';
}
