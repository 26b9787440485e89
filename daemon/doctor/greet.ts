/**
 * Knocks at a peer or a witness as the daemon would, up to the point where the other end has said
 * who it is, and leaves: the connection is never accepted, so nothing changes there.
 */
import { ChunkQueue } from '../../replication/link/chunk-queue.ts';
import type { Clock } from '../../replication/link/clock.ts';
import { LinkFormatError } from '../../replication/link/errors.ts';
import {
  checkGreeting,
  type HandshakeRules,
  versionProblem,
} from '../../replication/link/handshake.ts';
import {
  decodeGreeting,
  encodeGreeting,
  takeHandshakePacket,
} from '../../replication/link/handshake-format.ts';
import type { Network, Stream } from '../../replication/link/network.ts';
import { protocolVersion } from '../../replication/link/wire-format.ts';
import type { Dialed } from './subject.ts';

export type Greeted =
  | { readonly kind: 'greeted'; readonly softwareVersion: string; readonly roundTripMs: number }
  /** It is there and does not want to talk to this site, or this site not to it: in words. */
  | { readonly kind: 'refused'; readonly text: string }
  /** The connection was made, TLS included, and nothing more was tried. */
  | { readonly kind: 'connected' }
  /** No connection, or one that broke before the other end had said anything. */
  | { readonly kind: 'failed'; readonly stage: 'connect' | 'greet'; readonly text: string };

export interface Visit {
  readonly network: Network;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly to: Dialed;
  /** How this site introduces itself; absent: it only connects. */
  readonly rules: HandshakeRules | undefined;
}

/** Visits once; resolves within the time, whatever happens. */
export function visit({ network, clock, timeoutMs, to, rules }: Visit): Promise<Greeted> {
  return new Promise((resolve) => {
    let stream: Stream | undefined;
    let settled = false;
    const settle = (result: Greeted): void => {
      if (settled) return;
      settled = true;
      cancelTimer();
      cancelDial();
      stream?.abort();
      resolve(result);
    };
    const failed = (text: string): void => {
      settle({ kind: 'failed', stage: stream === undefined ? 'connect' : 'greet', text });
    };
    const cancelTimer = clock.setTimer(timeoutMs, () => failed(`no answer in ${timeoutMs} ms`));
    const cancelDial = network.dial(to.address, (result) => {
      if (result instanceof Error) {
        failed(result.message);
        return;
      }
      stream = result;
      if (rules === undefined) settle({ kind: 'connected' });
      else introduce({ stream, rules, to, clock, settle, failed });
    });
  });
}

function introduce(options: {
  stream: Stream;
  rules: HandshakeRules;
  to: Dialed;
  clock: Clock;
  settle: (result: Greeted) => void;
  failed: (text: string) => void;
}): void {
  const { stream, rules, to, clock, settle, failed } = options;
  const received = new ChunkQueue((chunk, bytes) => stream.giveBack(chunk, bytes));
  const purpose = to.role === 'witness' ? 'witness' : 'control';
  const sentAtMs = clock.nowMs();
  stream.attach({
    data: (chunk) => {
      received.push(chunk);
      try {
        const answer = readAnswer(received, rules, purpose);
        const roundTripMs = clock.nowMs() - sentAtMs;
        if (answer !== undefined)
          settle('kind' in answer ? answer : { ...answer, kind: 'greeted', roundTripMs });
      } catch (error) {
        if (!(error instanceof LinkFormatError)) throw error;
        failed(error.message);
      }
    },
    drained: () => undefined,
    closed: (error) => failed(error?.message ?? 'it closed the connection without a word'),
  });
  const { own } = rules;
  const greeting = { ...own, purpose, lastSession: rules.lastSession() } as const;
  stream.write([encodeGreeting(protocolVersion, greeting)]);
}

/** What the other end has said; undefined while it is not there in full. */
function readAnswer(
  received: ChunkQueue,
  rules: HandshakeRules,
  purpose: 'witness' | 'control',
): { readonly softwareVersion: string } | (Greeted & { kind: 'refused' }) | undefined {
  const packet = received.sizeBytes === 0 ? undefined : takeHandshakePacket(received);
  if (packet === undefined) return undefined;
  if (packet.kind === 'refused') return { kind: 'refused', text: packet.reason.text };
  const versions = versionProblem(rules, rules.peerSiteName, packet.version);
  if (versions !== undefined) return { kind: 'refused', text: versions.text };
  if (packet.kind === 'accepted') throw new LinkFormatError('it accepted without a greeting');
  const peer = decodeGreeting(packet.body);
  const problem = checkGreeting(rules, peer, purpose);
  if (problem !== undefined) return { kind: 'refused', text: problem.text };
  return { softwareVersion: peer.softwareVersion };
}
