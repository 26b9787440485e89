/**
 * Who votes on a group's configuration (R5, R6): the list of acceptors that its mode and the
 * witness stand for. The list that counts is part of the configuration itself and changes only by a
 * swap in which the old and the new voters take part; here is what it should become. It becomes
 * another one only when both sites say that they have the same witness, with the same store: while
 * they differ, the list stays as it is.
 */
import type { StoreId } from '../wal/frame.ts';

/** What a site says of its witness; null: it has none, or has not met it. */
export interface WitnessView {
  readonly name: string | null;
  readonly storeId: StoreId | null;
}

export interface VotersOptions {
  readonly siteName: string;
  readonly peerName: string;
  readonly own: () => WitnessView;
  readonly reachable: () => boolean;
  /** Whether this is or was a witness's store. */
  readonly isWitnessStore: (storeId: StoreId) => boolean;
}

export class Voters {
  readonly #options: VotersOptions;
  #peer: WitnessView | undefined;

  constructor(options: VotersOptions) {
    this.#options = options;
  }

  /** What the peer says; undefined when it is not there to be asked. */
  set peer(view: WitnessView | undefined) {
    this.#peer = view;
  }

  /** Why the two sites can't agree on a witness, naming both values; undefined if they do. */
  get difference(): string | undefined {
    const { siteName, peerName } = this.#options;
    const own = this.#options.own();
    const peer = this.#peer;
    if (peer === undefined) return undefined;
    if (own.name !== peer.name) {
      return (
        `the sites name different witnesses: ${siteName} has ${quoted(own.name)}, ` +
        `${peerName} has ${quoted(peer.name)}`
      );
    }
    if (own.storeId === null || peer.storeId === null || own.storeId === peer.storeId) {
      return undefined;
    }
    return (
      `the sites have met different witnesses named ${quoted(own.name)}: the store of the one that ` +
      `${siteName} has met is ${own.storeId}, that of ${peerName}'s is ${peer.storeId}`
    );
  }

  /**
   * The acceptors of a group that both sites decide on, where `current` are those it has. A
   * witness is taken in only while it answers, for it has to take part.
   */
  acceptors(me: StoreId, peer: StoreId, current: readonly StoreId[]): readonly StoreId[] {
    const { reachable, isWitnessStore } = this.#options;
    const agreed = this.#agreed();
    if (agreed?.storeId === null) return [me, peer];
    if (agreed !== undefined && (current.includes(agreed.storeId) || reachable())) {
      return [me, peer, agreed.storeId];
    }
    if (current.includes(me) && current.includes(peer)) return current;
    const others = current.filter((store) => store !== me && store !== peer);
    return [me, peer, ...others.filter(isWitnessStore)];
  }

  /** The witness (or none) that both sites have; undefined while that is not known. */
  #agreed(): { readonly storeId: StoreId | null } | undefined {
    const own = this.#options.own();
    const peer = this.#peer;
    if (peer === undefined || own.name !== peer.name || own.storeId !== peer.storeId) {
      return undefined;
    }
    // A witness that nobody has met yet is not one to agree on.
    return own.name !== null && own.storeId === null ? undefined : own;
  }
}

function quoted(name: string | null): string {
  return name === null ? 'none' : `"${name}"`;
}
