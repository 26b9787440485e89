/**
 * The listening side of the link: takes connections, shakes hands with each, and hands on those of
 * the configured peer. Connections whose handshake is not through are few: when there are too many
 * the oldest gives way, since the real peer needs one round trip and a stranger is slow or silent.
 */
import type { Clock } from './clock.ts';
import type { CompleteHandshake } from './connector.ts';
import type { LinkReason } from './errors.ts';
import { LinkStartError } from './errors.ts';
import type { ChooseRules, HandshakeResult, HandshakeRules } from './handshake.ts';
import { Handshake } from './handshake.ts';
import type { Greeting } from './handshake-format.ts';
import type { LinkLimits, LinkTimeouts } from './limits.ts';
import type { Listener, Network, Stream } from './network.ts';

export interface AcceptorOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly limits: LinkLimits;
  readonly timeouts: LinkTimeouts;
  readonly rules: HandshakeRules;
  /** See `HandshakeOptions.choose`. */
  readonly choose?: ChooseRules;
  readonly address: string;
  /** A last look before a connection is taken: a reason to refuse, or undefined. */
  admit(peer: Greeting): LinkReason | undefined;
  established(stream: Stream, result: CompleteHandshake): void;
  /** `known`: the other end at least greeted as a site of Casemate does. */
  failed(reason: LinkReason, known: boolean): void;
}

export class Acceptor {
  readonly #options: AcceptorOptions;
  /** In the order in which they came. */
  readonly #halfOpen = new Set<Handshake>();
  #listener: Listener | undefined;

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /** The address that is listened on; undefined before `start`. */
  get address(): string | undefined {
    return this.#listener?.address;
  }

  get halfOpenCount(): number {
    return this.#halfOpen.size;
  }

  /** @throws LinkStartError ERR_LINK_LISTEN when the address cannot be listened on. */
  async start(): Promise<void> {
    const { network, address } = this.#options;
    try {
      this.#listener = await network.listen(address, (stream) => this.#onStream(stream));
    } catch (error) {
      const how = error instanceof Error ? error.message : String(error);
      const text = `cannot listen for sites on ${address}: ${how}`;
      throw new LinkStartError('ERR_LINK_LISTEN', text, error);
    }
  }

  async close(): Promise<void> {
    for (const handshake of this.#halfOpen) handshake.abandon();
    this.#halfOpen.clear();
    await this.#listener?.close();
  }

  #onStream(stream: Stream): void {
    const { clock, rules, choose, timeouts, limits } = this.#options;
    const handshake = new Handshake({
      stream,
      clock,
      rules,
      choose,
      role: 'acceptor',
      purpose: undefined,
      timeoutMs: timeouts.handshakeMs,
      admit: (peer) => this.#options.admit(peer),
      done: (result) => this.#onDone(handshake, stream, result),
    });
    this.#halfOpen.add(handshake);
    const [oldest] = this.#halfOpen;
    if (oldest === undefined || this.#halfOpen.size <= limits.halfOpenConnectionsMax) return;
    this.#halfOpen.delete(oldest);
    oldest.abandon();
    const text = `more than ${limits.halfOpenConnectionsMax} connections without a handshake`;
    this.#options.failed({ code: 'half-open', text }, false);
  }

  #onDone(handshake: Handshake, stream: Stream, result: HandshakeResult): void {
    this.#halfOpen.delete(handshake);
    if (result.kind === 'complete') this.#options.established(stream, result);
    else this.#options.failed(result.reason, result.known);
  }
}
