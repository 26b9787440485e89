/**
 * The dialing side of one connection: dials, shakes hands, and while it fails tries again after a
 * wait that doubles up to a limit, half of it random. Once it has made a connection it rests until
 * it is told that a new one is needed.
 */
import type { Clock, Random } from './clock.ts';
import type { LinkReason } from './errors.ts';
import type { HandshakeResult, HandshakeRules } from './handshake.ts';
import { Handshake } from './handshake.ts';
import type { LinkTimeouts } from './limits.ts';
import type { Network, Stream } from './network.ts';
import type { Purpose } from './wire-format.ts';

export type CompleteHandshake = Extract<HandshakeResult, { kind: 'complete' }>;

export interface ConnectorOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly timeouts: LinkTimeouts;
  readonly rules: HandshakeRules;
  readonly purpose: Purpose;
  readonly address: string;
  established(stream: Stream, result: CompleteHandshake): void;
  failed(reason: LinkReason): void;
}

type ConnectorState =
  | { readonly kind: 'resting' }
  | { readonly kind: 'waiting'; readonly cancel: () => void }
  | { readonly kind: 'dialing'; readonly cancel: () => void }
  | { readonly kind: 'handshaking'; readonly handshake: Handshake };

export class Connector {
  readonly #options: ConnectorOptions;
  #state: ConnectorState = { kind: 'resting' };
  #waitMs: number;
  #establishedAtMs: number | undefined;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#waitMs = options.timeouts.reconnectMs;
  }

  /** A connection is needed now (the first time, or when what it waited for has come). */
  dialNow(): void {
    this.stop();
    this.#dial();
  }

  /** The connection was lost, or refused: dial again after the wait that is due. */
  dialAgain(): void {
    const { clock, timeouts } = this.#options;
    this.stop();
    const waitMs = this.#waitMs * (0.5 + 0.5 * this.#options.random.fraction());
    this.#waitMs = Math.min(2 * this.#waitMs, timeouts.reconnectMsMax);
    this.#state = { kind: 'waiting', cancel: clock.setTimer(waitMs, () => this.#dial()) };
  }

  /** Gives up what is under way; a connection that was made is no longer its concern. */
  stop(): void {
    const { clock, timeouts } = this.#options;
    const state = this.#state;
    const sinceMs = this.#establishedAtMs;
    this.#state = { kind: 'resting' };
    this.#establishedAtMs = undefined;
    // A connection that dies young, again and again, must not be remade without waiting.
    const wasStable = sinceMs !== undefined && clock.nowMs() - sinceMs >= timeouts.reconnectMsMax;
    if (wasStable) this.#waitMs = timeouts.reconnectMs;
    if (state.kind === 'handshaking') state.handshake.abandon();
    else if (state.kind !== 'resting') state.cancel();
  }

  #dial(): void {
    const { network, clock, address, timeouts } = this.#options;
    const cancelDial = network.dial(address, (result) => {
      cancelTimer();
      if (result instanceof Error) this.#unreachable(result.message);
      else this.#shakeHands(result);
    });
    const cancelTimer = clock.setTimer(timeouts.handshakeMs, () => {
      cancelDial();
      this.#unreachable(`no answer within ${timeouts.handshakeMs} ms`);
    });
    this.#state = {
      kind: 'dialing',
      cancel: () => {
        cancelDial();
        cancelTimer();
      },
    };
  }

  #unreachable(how: string): void {
    const { rules, address } = this.#options;
    const text = `${rules.peerSiteName} (${address}) is unreachable: ${how}`;
    this.#onFailed({ code: 'unreachable', text });
  }

  #shakeHands(stream: Stream): void {
    const { clock, rules, purpose, timeouts } = this.#options;
    const handshake = new Handshake({
      stream,
      clock,
      rules,
      role: 'dialer',
      purpose,
      timeoutMs: timeouts.handshakeMs,
      admit: () => undefined,
      done: (result) => {
        if (result.kind === 'failed') this.#onFailed(result.reason);
        else this.#onEstablished(stream, result);
      },
    });
    this.#state = { kind: 'handshaking', handshake };
  }

  #onEstablished(stream: Stream, result: CompleteHandshake): void {
    this.#state = { kind: 'resting' };
    this.#establishedAtMs = this.#options.clock.nowMs();
    this.#options.established(stream, result);
  }

  #onFailed(reason: LinkReason): void {
    this.#state = { kind: 'resting' };
    this.dialAgain();
    this.#options.failed(reason);
  }
}
