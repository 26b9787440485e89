/**
 * Simulated sessions between the two sites: in order within a session, but a site that closes one
 * leaves the other side half-open for a while, and messages of a session that is over come late.
 */
import type { RandomNumbers } from './core-random-numbers.ts';
import type { Packet, SimulatedSite } from './core-site.ts';

interface Stale {
  readonly site: SimulatedSite;
  readonly session: number;
  readonly packet: Packet;
}

export class SimulatedNetwork {
  readonly #random: RandomNumbers;
  readonly #queues = new Map<number, Map<string, Packet[]>>();
  #sessions = 0;
  stale: Stale[] = [];

  constructor(random: RandomNumbers) {
    this.#random = random;
  }

  #queue(session: number, site: SimulatedSite): Packet[] {
    return this.#queues.get(session)?.get(site.name) ?? [];
  }

  send(from: SimulatedSite, to: SimulatedSite, session: number, packet: Packet): void {
    if (from.session === session) this.#queue(session, to).push(packet);
  }

  /** What `site` has not read is left behind; the other side may hear of the end, or not. */
  closed(site: SimulatedSite, peer: SimulatedSite, session: number): void {
    for (const packet of this.#queue(session, site).splice(0)) {
      if (packet.kind !== 'closed' && this.#random.chance(0.4)) {
        this.stale.push({ site, session, packet });
      }
    }
    if (peer.session === session && this.#random.chance(0.7)) {
      this.#queue(session, peer).push({ kind: 'closed' });
    }
  }

  /** The session breaks under this site. */
  break(site: SimulatedSite, peer: SimulatedSite): void {
    const { session } = site;
    if (session === undefined) return;
    site.session = undefined;
    this.closed(site, peer, session);
    if (site.up) site.step({ kind: 'sessionClosed', session });
  }

  connect(a: SimulatedSite, b: SimulatedSite): void {
    if (a.session !== undefined && a.session === b.session) return;
    for (const site of [a, b]) {
      if (!site.up || site.paused || !site.core.view().wantsSession) return;
    }
    this.break(a, b);
    this.break(b, a);
    for (const site of [a, b]) if (!site.up || !site.core.view().wantsSession) return;
    this.#sessions += 1;
    const session = this.#sessions;
    this.#queues.set(
      session,
      new Map([
        [a.name, []],
        [b.name, []],
      ]),
    );
    a.session = session;
    b.session = session;
    a.step({ kind: 'sessionOpened', session });
    b.step({ kind: 'sessionOpened', session });
  }

  /** Gives the site its next packet, if there is one. */
  deliver(site: SimulatedSite): boolean {
    if (site.session === undefined) return false;
    const packet = this.#queue(site.session, site).shift();
    if (packet === undefined) return false;
    site.receive(site.session, packet);
    return true;
  }

  deliverStale(): void {
    if (this.stale.length === 0) return;
    const index = this.#random.whole(0, this.stale.length - 1);
    const [found] = this.stale.splice(index, 1);
    if (found === undefined || !found.site.up || found.site.paused) return;
    found.site.receive(found.session, found.packet);
  }
}
