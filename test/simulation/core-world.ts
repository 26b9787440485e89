/**
 * The randomized model of one group: two production cores with simulated logs, sessions, a register
 * and clients, under crashes, pauses, cut links, drifting clocks and a replaced store. Each seed
 * has its own mix of faults. After the faults everything must come together again.
 */
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreTimes } from '../../replication/core/events.ts';
import type { HistoryPoint } from '../../wal/frame.ts';
import { SimulatedClients } from './core-clients.ts';
import {
  type Action,
  focus,
  huntingMix,
  type Mode,
  type Mutation,
  mixOf,
  quietWeights,
  type Weights,
} from './core-faults.ts';
import { HistoryChecks } from './core-history-checks.ts';
import { type SimulatedFrame, Violation } from './core-log.ts';
import { SimulatedNetwork } from './core-network.ts';
import { RandomNumbers } from './core-random-numbers.ts';
import { SimulatedRegister } from './core-register.ts';
import {
  blankStore,
  type Packet,
  SimulatedSite,
  type SiteHost,
  type SwapRequest,
  simulatedTimes,
} from './core-site.ts';

const stepCount = 4000;
const healingStepsMax = 8000;
export class CoreWorld implements SiteHost {
  readonly randomNumbers: RandomNumbers;
  readonly mutation: Mutation;
  readonly mode: Mode;
  readonly times: CoreTimes;
  readonly a: SimulatedSite;
  readonly b: SimulatedSite;
  readonly network: SimulatedNetwork;
  readonly register: SimulatedRegister;
  readonly clients: SimulatedClients;
  readonly trace: string[] = [];
  #nowMs = 0;
  #faults = true;
  #weights: Weights;
  #pace: number;
  #hunts = false;
  #ids = 0;
  readonly #links = { peer: true, a: true, b: true };
  #witnessUp = true;
  /** Operators take the witness out of the voters, and in again. */
  #witnessVotes = true;
  readonly #history = new HistoryChecks();

  constructor(seed: number, mutation: Mutation = 'none') {
    const random = new RandomNumbers(seed);
    this.randomNumbers = random;
    this.mutation = mutation;
    this.mode = random.of<Mode>([
      'witness',
      'witness',
      'witness',
      'witness',
      'suspend',
      'preferred',
    ]);
    this.times = mutation === 'short-grace' ? { ...simulatedTimes, graceMs: 4000 } : simulatedTimes;
    this.network = new SimulatedNetwork(random);
    this.a = new SimulatedSite('A', this);
    this.b = new SimulatedSite('B', this);
    this.clients = new SimulatedClients(random, {
      mutation,
      sites: this.sites,
      nowMs: () => this.#nowMs,
      clockMs: (site) => this.clockMs(site),
    });
    const first: GroupConfig = {
      epoch: 1,
      epochId: 'first',
      primary: 'A0',
      inSync: ['A0', 'B0'],
      acceptors: this.acceptorsOf('A0', 'B0'),
      leaseMs: this.times.leaseMs,
      graceMs: this.times.graceMs,
    };
    const world = this;
    this.register = new SimulatedRegister(
      {
        random,
        get faults() {
          return world.#faults;
        },
        reachable: (site) => this.#reachable(site),
      },
      first,
    );
    this.register.deaf = mutation === 'never-reads-register';
    for (const site of this.sites) {
      site.rate = random.between(0.952, 1.048);
      this.#start(site);
    }
    this.#pace = random.of([15, 40, 120]);
    this.#weights = mixOf(random);
    if (random.chance(0.4)) this.#huntStaleReads();
    Object.assign(this.#weights, focus[mutation]);
  }

  get sites(): readonly [SimulatedSite, SimulatedSite] {
    return [this.a, this.b];
  }

  /** Pauses and reads, little else. */
  #huntStaleReads(): void {
    const random = this.randomNumbers;
    Object.assign(this.#weights, huntingMix(random));
    this.#pace = 120;
    this.clients.readShare = 0.7;
    this.#hunts = true;
    const [slow, fast] = random.of([this.sites, [this.b, this.a] as const]);
    slow.rate = 0.952;
    fast.rate = 1.048;
  }

  peerOf(site: SimulatedSite): SimulatedSite {
    return site === this.a ? this.b : this.a;
  }

  // --- what the sites ask for (SiteHost)

  random(): number {
    return this.randomNumbers.next();
  }

  newId(): string {
    this.#ids += 1;
    return `id${this.#ids}`;
  }

  send(site: SimulatedSite, session: number, packet: Packet): void {
    this.network.send(site, this.peerOf(site), session, packet);
  }

  closed(site: SimulatedSite, session: number): void {
    this.network.closed(site, this.peerOf(site), session);
  }

  readRegister(site: SimulatedSite): void {
    this.register.request(site, undefined);
  }

  acceptorsOf(me: string, peer: string): readonly string[] {
    if (this.mode === 'witness' && this.#witnessVotes) return [me, peer, 'W'];
    if (this.mode !== 'preferred') return [me, peer];
    return [me, peer].filter((store) => store.startsWith('A'));
  }

  recoveredCommit(site: SimulatedSite, commit: number): number {
    const alone = site.log.lastEpochStart?.inSync.join() === site.store.storeId;
    return this.mutation === 'solo-tail-is-committed' && alone ? site.log.end.sequence : commit;
  }

  startShiftMs(): number {
    return this.mutation === 'forgets-grace' ? simulatedTimes.graceMs * 2 : 0;
  }

  clockMs(site: SimulatedSite): number {
    return this.#nowMs * site.rate;
  }

  appended(site: SimulatedSite, frame: SimulatedFrame): void {
    this.#history.appended(site.name, frame);
    if (this.mutation === 'acks-before-sync' && site.core.view().joinedSession !== undefined) {
      const sequence = frame.lastSequence;
      site.step({ kind: 'durable', sequence });
    }
  }

  committed(site: SimulatedSite, sequence: number): void {
    this.#history.committed(site.name, site.log.frames, sequence);
    this.clients.answer(site, sequence);
  }

  cut(site: SimulatedSite, to: HistoryPoint): void {
    this.told(site, `cuts to ${to.sequence}`);
    if (to.sequence < site.store.applied) {
      throw new Violation(`I3: ${site.name} cuts to ${to.sequence}, applied ${site.store.applied}`);
    }
  }

  swapSent(site: SimulatedSite, request: SwapRequest): void {
    if (this.mutation !== 'assumes-swaps-won' || request.name === 'add') return;
    this.register.decide(request);
    site.swap = undefined;
    site.step({ kind: 'swapWon', config: request.next });
  }

  told(site: SimulatedSite, text: string): void {
    this.trace.push(`${this.#nowMs.toFixed(0).padStart(8)} ${site.name} ${text}`);
  }

  // --- faults

  #start(site: SimulatedSite): void {
    this.told(site, `starts ${site.store.storeId}, log ${site.log.end.sequence}`);
    site.start(this.clockMs(site));
    site.step({ kind: 'tick' });
  }

  #crash(site: SimulatedSite): void {
    const { session } = site;
    site.log.forgetsCuts = this.mutation === 'cut-not-kept';
    if (session !== undefined) {
      site.session = undefined;
      this.network.closed(site, this.peerOf(site), session);
    }
    site.crash(this.randomNumbers.whole(0, site.log.unsynced));
    this.told(site, `crashes, log ${site.log.end.sequence}`);
  }

  #replace(site: SimulatedSite): void {
    const peer = this.peerOf(site);
    const stores = this.register.value.inSync;
    // Two voters, one of them lost for good, can't decide anything: that is for an operator.
    if (this.#weights.voters > 0) return;
    if (this.mode !== 'witness' || !stores.includes(peer.store.storeId) || site.life >= 40) return;
    if (site.up) this.#crash(site);
    const number = Number(site.store.storeId.slice(1)) + 1;
    const same = this.mutation === 'blank-under-old-name';
    site.store = blankStore(same ? site.store.storeId : `${site.name}${number}`);
    this.told(site, `is replaced by a blank ${site.store.storeId}`);
  }

  #reachable(site: SimulatedSite): boolean {
    const isUp = (name: string): boolean => {
      if (name === 'W') return this.#witnessUp;
      const other = name === 'A' ? this.a : this.b;
      return other.up && !other.paused;
    };
    const isLinked = (name: string): boolean => {
      if (name === site.name) return true;
      if (name === 'W') return site.name === 'A' ? this.#links.a : this.#links.b;
      return this.#links.peer;
    };
    const names = { witness: ['A', 'B', 'W'], suspend: ['A', 'B'], preferred: ['A'] }[this.mode];
    const count = names.filter((name) => isUp(name) && isLinked(name)).length;
    return count * 2 > names.length;
  }

  // --- the schedule

  step(): void {
    const random = this.randomNumbers;
    this.#nowMs += random.next() * (this.#faults ? this.#pace : 40);
    // Now and then nothing happens for a while.
    if (this.#faults && random.chance(0.004)) this.#nowMs += random.between(500, 7000);
    const action = random.weighted(this.#faults ? this.#weights : quietWeights);
    const site = random.of(this.sites);
    if (action === 'pause' && this.#hunts && this.sites.some(({ paused }) => paused)) return;
    const alive = site.up && !site.paused;
    if (alive) this.#actOfSite(site, action);
    this.#actOfFate(site, action);
    this.#check();
  }

  #actOfSite(site: SimulatedSite, action: Action): void {
    const random = this.randomNumbers;
    switch (action) {
      case 'deliver':
        if (this.#links.peer || random.chance(0.3)) this.network.deliver(site);
        break;
      case 'sync':
        site.sync(random.whole(1, Math.max(1, site.log.unsynced)));
        break;
      case 'timers':
        this.#timers(site);
        break;
      case 'send':
        site.sendFrames(random.whole(1, 3));
        break;
      case 'inbox':
        this.clients.handle(site);
        break;
      case 'apply':
        this.#apply(site);
        break;
      case 'checkpoint':
        this.#checkpoint(site);
        break;
      case 'switch':
        if (site.core.view().takesWrites) site.step({ kind: 'switchover' });
        break;
      default:
        break;
    }
  }

  #timers(site: SimulatedSite): void {
    site.step({ kind: 'tick' });
    const clockMs = this.clockMs(site);
    if (!site.up) return;
    site.formFrame();
    if (this.mutation === 'answers-without-waiting' || this.mutation === 'answers-while-dropping') {
      this.clients.answerEarly(site);
    }
    const { swap } = site;
    if (swap === undefined || clockMs - swap.sentAtMs < 3000) return;
    swap.sentAtMs = clockMs;
    this.register.request(site, swap);
  }

  #apply(site: SimulatedSite): void {
    const { commit, durable } = site.core.view();
    const limit = this.mutation === 'applies-uncommitted' ? durable : commit;
    const { applied } = site.store;
    if (limit > applied) site.store.applied = this.randomNumbers.whole(applied, limit);
  }

  #checkpoint(site: SimulatedSite): void {
    const { commit } = site.core.view();
    const { applied, checkpoint } = site.store;
    const frame = site.log.frames.findLast(
      ({ lastSequence }) => lastSequence <= Math.min(applied, commit),
    );
    if (frame === undefined || frame.lastSequence <= checkpoint.sequence) return;
    site.store.checkpoint = { sequence: frame.lastSequence, digest: frame.digestAfter };
    site.step({ kind: 'checkpointed', checkpoint: site.store.checkpoint });
  }

  #actOfFate(site: SimulatedSite, action: Action): void {
    const random = this.randomNumbers;
    switch (action) {
      case 'client':
        this.clients.request(site);
        break;
      case 'register':
        this.register.step();
        break;
      case 'crash':
        if (site.up) this.#crash(site);
        break;
      case 'restart':
        if (!site.up) this.#start(site);
        break;
      case 'pause':
        if (!site.up) break;
        site.paused = true;
        site.resumeAtMs = this.#nowMs + this.times.graceMs * random.between(0.3, 2.5);
        this.told(site, 'is paused');
        break;
      case 'resume':
        this.#resume(site);
        break;
      case 'break':
        for (const each of this.sites) {
          if (random.chance(0.7) && !each.paused) this.network.break(each, this.peerOf(each));
        }
        break;
      case 'connect':
        if (this.#links.peer) this.network.connect(this.a, this.b);
        break;
      case 'cutLink':
        this.#links[random.of(['peer', 'a', 'b'] as const)] = false;
        break;
      case 'heal':
        this.#heal();
        break;
      case 'stale':
        this.network.deliverStale();
        break;
      case 'lose':
        if (random.chance(0.3)) this.register.loseOne();
        break;
      case 'voters':
        this.#witnessVotes = !this.#witnessVotes;
        break;
      case 'witness':
        this.#witnessUp = !this.#witnessUp;
        break;
      case 'blank':
        this.#replace(site);
        break;
      default:
        break;
    }
  }

  #heal(): void {
    this.#links.peer = true;
    this.#links.a = true;
    this.#links.b = true;
  }

  /** What lay in its sockets comes before its timers. */
  #resume(site: SimulatedSite): void {
    if (!site.paused || !site.up || (this.#hunts && this.#nowMs < site.resumeAtMs)) return;
    site.paused = false;
    this.told(site, 'resumes');
    for (let count = this.#hunts ? this.randomNumbers.whole(1, 4) : 0; count > 0; count -= 1) {
      if (!this.randomNumbers.chance(0.3) || !this.network.deliver(site)) this.clients.handle(site);
      this.#check();
    }
  }

  // --- the checks

  #check(): void {
    if (this.sites.every((site) => this.#serves(site))) {
      throw new Violation('I4: both sites serve');
    }
    for (const site of this.sites) {
      if (!site.up) continue;
      if (site.store.applied > site.log.end.sequence) {
        throw new Violation(`I3: ${site.name} has applied more than its log holds`);
      }
      const { split, damaged, inconsistent } = site.store.flags;
      if (split || damaged || inconsistent) {
        throw new Violation(`${site.name} believes that its copy is split or damaged`);
      }
    }
  }

  #serves(site: SimulatedSite): boolean {
    if (!site.up || site.paused) return false;
    if (this.mutation === 'reads-without-lease') return site.core.view().takesReads;
    return site.core.mayRead(this.clockMs(site));
  }

  /** One run: faults, then healing, then the checks. Throws a Violation. */
  run(): 'ok' | 'unavailable' {
    for (let count = 0; count < stepCount; count += 1) this.step();
    this.#faults = false;
    this.#heal();
    this.#witnessUp = true;
    for (const site of this.sites) {
      site.paused = false;
      if (!site.up) this.#start(site);
    }
    const stores = this.sites.map((site) => site.store.storeId);
    if (!this.#converges(stores)) {
      // The only in-sync store was replaced: only force helps.
      if (!this.register.value.inSync.some((store) => stores.includes(store))) {
        return 'unavailable';
      }
      throw new Violation(`no convergence: ${this.describe()}`);
    }
    this.clients.finalReads();
    return 'ok';
  }

  #converges(stores: readonly string[]): boolean {
    for (let count = 0; count < healingStepsMax; count += 1) {
      this.step();
      if (count % 50 === 0 && this.#isConverged(stores)) return true;
    }
    return false;
  }

  #isConverged(stores: readonly string[]): boolean {
    const [a, b] = this.sites;
    if (!stores.every((store) => this.register.value.inSync.includes(store))) return false;
    if (a.core.view().reigning === b.core.view().reigning) return false;
    if (a.log.end.digest !== b.log.end.digest) return false;
    return this.sites.every((site) => {
      const { end, commit, durable } = site.core.view();
      const isDone = commit === end.sequence && durable === end.sequence && site.log.quiet;
      // Requests at the site that follows wait for its next reign.
      const waiting = site.core.view().reigning ? site.inbox.length + site.records.length : 0;
      return isDone && site.swap === undefined && waiting === 0;
    });
  }

  describe(): string {
    const sites = this.sites.map((site) => {
      const view = site.up ? site.core.view() : undefined;
      return JSON.stringify({
        site: site.name,
        up: site.up,
        swap: site.swap?.name,
        session: site.session,
        role: view?.role,
        reigning: view?.reigning,
        wait: view?.waitReason?.code,
        peer: view?.peer,
        config: view?.config,
        end: view?.end.sequence,
        commit: view?.commit,
        durable: view?.durable,
      });
    });
    return `${this.mode} register ${JSON.stringify(this.register.value)} ${sites.join(' ')}`;
  }
}
