/**
 * Two cores driven by hand, without chance: time moves in small steps in which everything that can
 * happen does, but for what a test holds back (the link, a site's log, its register).
 */
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreTimes } from '../../replication/core/events.ts';
import type { SimulatedFrame } from '../simulation/core-log.ts';
import {
  type Packet,
  SimulatedSite,
  type SiteHost,
  type SwapRequest,
  simulatedTimes,
} from '../simulation/core-site.ts';

const stepMs = 50;

export interface PairOptions {
  readonly acceptors?: readonly string[];
  readonly inSync?: readonly string[];
}

export class CorePair implements SiteHost {
  readonly times: CoreTimes = simulatedTimes;
  readonly a: SimulatedSite;
  readonly b: SimulatedSite;
  nowMs = 0;
  value: GroupConfig;
  linked = true;
  /** Sites whose log syncs, whose packets arrive, whose swaps and reads reach the register. */
  syncing = new Set(['A', 'B']);
  receiving = new Set(['A', 'B']);
  registered = new Set(['A', 'B']);
  readonly trace: string[] = [];
  readonly answered: number[] = [];
  /** Every frame and message that was sent, oldest first. */
  readonly sent: { readonly from: string; readonly session: number; readonly packet: Packet }[] =
    [];
  readonly swaps: SwapRequest[] = [];
  readonly cuts: string[] = [];
  #queues: { readonly to: SimulatedSite; readonly session: number; readonly packet: Packet }[] = [];
  #sessions = 0;
  #ids = 0;
  #writes = 0;
  /** Who should vote, by the first letter of their stores. */
  acceptors: readonly string[];

  constructor(options: PairOptions = {}) {
    this.acceptors = options.acceptors ?? ['A', 'B', 'W'];
    this.a = new SimulatedSite('A', this);
    this.b = new SimulatedSite('B', this);
    this.value = {
      epoch: 1,
      epochId: 'first',
      primary: 'A0',
      inSync: options.inSync ?? ['A0', 'B0'],
      acceptors: this.acceptorsOf('A0', 'B0'),
      leaseMs: this.times.leaseMs,
      graceMs: this.times.graceMs,
    };
  }

  /** Both sites up, in sync, A primary, a write answered. */
  static settled(options: PairOptions = {}): CorePair {
    const pair = new CorePair(options);
    pair.start(pair.a);
    pair.start(pair.b);
    pair.until(() => pair.a.core.mayRead(pair.nowMs));
    pair.write(pair.a);
    pair.advance(4000);
    return pair;
  }

  peerOf(site: SimulatedSite): SimulatedSite {
    return site === this.a ? this.b : this.a;
  }

  start(site: SimulatedSite): void {
    site.start(this.nowMs);
    site.step({ kind: 'tick' });
  }

  crash(site: SimulatedSite, kept = 0): void {
    this.cutSession(site);
    site.crash(kept);
  }

  /** The session breaks, both sides notice. */
  cutSession(site: SimulatedSite): void {
    const { session } = site;
    if (session === undefined) return;
    for (const each of [this.a, this.b]) {
      if (each.session !== session || !each.up) continue;
      each.session = undefined;
      each.step({ kind: 'sessionClosed', session });
    }
    this.#queues = this.#queues.filter((queued) => queued.session !== session);
  }

  /** Appends a write at the site; gives its number, which `answered` has once it is committed. */
  write(site: SimulatedSite): number {
    this.#writes += 1;
    site.records.push({ block: 0, value: this.#writes, operation: this.#writes });
    site.formFrame();
    return this.#writes;
  }

  advance(ms: number): void {
    for (let left = ms; left > 0; left -= stepMs) {
      this.nowMs += stepMs;
      this.#once();
    }
  }

  /** Until the condition holds, at most two simulated minutes. */
  until(condition: () => boolean): boolean {
    for (let steps = 0; steps < 120_000 / stepMs && !condition(); steps += 1) this.advance(stepMs);
    return condition();
  }

  #once(): void {
    this.#connect();
    for (const site of [this.a, this.b]) {
      if (!site.up || site.paused) continue;
      if (this.syncing.has(site.name)) site.sync(site.log.unsynced);
      site.step({ kind: 'tick' });
      site.formFrame();
      site.sendFrames(8);
      this.#decide(site);
    }
    this.deliver();
  }

  deliver(): void {
    const waiting = this.#queues;
    this.#queues = [];
    for (const queued of waiting) {
      const { to, session, packet } = queued;
      if (!to.up || to.session !== session) continue;
      if (to.paused || !this.receiving.has(to.name)) this.#queues.push(queued);
      else to.receive(session, packet);
    }
  }

  #connect(): void {
    const { a, b } = this;
    if (!this.linked) {
      this.cutSession(a);
      this.cutSession(b);
      return;
    }
    if (a.session !== undefined && a.session === b.session) return;
    for (const site of [a, b]) {
      if (!site.up || site.paused || !site.core.view().wantsSession) return;
    }
    this.cutSession(a);
    this.cutSession(b);
    if (!a.core.view().wantsSession || !b.core.view().wantsSession) return;
    this.#sessions += 1;
    for (const site of [a, b]) site.session = this.#sessions;
    for (const site of [a, b]) site.step({ kind: 'sessionOpened', session: this.#sessions });
  }

  #decide(site: SimulatedSite): void {
    const { swap } = site;
    if (swap === undefined || !this.registered.has(site.name)) return;
    if (this.value.epochId === swap.expected.epochId) this.value = swap.next;
    site.swap = undefined;
    if (this.value.epochId === swap.next.epochId) {
      site.step({ kind: 'swapWon', config: swap.next });
    } else {
      site.step({ kind: 'swapLost', current: this.value });
    }
  }

  // --- what the sites ask for (SiteHost)

  random(): number {
    return 0.5;
  }

  newId(): string {
    this.#ids += 1;
    return `id${this.#ids}`;
  }

  send(site: SimulatedSite, session: number, packet: Packet): void {
    this.sent.push({ from: site.name, session, packet });
    this.#queues.push({ to: this.peerOf(site), session, packet });
  }

  closed(site: SimulatedSite, session: number): void {
    const peer = this.peerOf(site);
    if (peer.session === session) {
      this.#queues.push({ to: peer, session, packet: { kind: 'closed' } });
    }
  }

  readRegister(site: SimulatedSite): void {
    if (!this.registered.has(site.name)) return;
    site.step({ kind: 'registerRead', current: this.value });
  }

  acceptorsOf(me: string, peer: string): readonly string[] {
    return this.acceptors.map((name) => [me, peer].find((store) => store.startsWith(name)) ?? name);
  }

  recoveredCommit(_site: SimulatedSite, commit: number): number {
    return commit;
  }

  startShiftMs(): number {
    return 0;
  }

  appended(_site: SimulatedSite, _frame: SimulatedFrame): void {}

  committed(site: SimulatedSite, sequence: number): void {
    for (const [at, operation] of site.unanswered) {
      if (at > sequence) continue;
      site.unanswered.delete(at);
      this.answered.push(operation);
    }
  }

  cut(site: SimulatedSite, to: { readonly sequence: number }): void {
    this.cuts.push(`${site.name}:${to.sequence}`);
  }

  swapSent(_site: SimulatedSite, request: SwapRequest): void {
    this.swaps.push(request);
  }

  told(site: SimulatedSite, text: string): void {
    this.trace.push(`${this.nowMs} ${site.name} ${text}`);
  }

  clockMs(_site: SimulatedSite): number {
    return this.nowMs;
  }
}
