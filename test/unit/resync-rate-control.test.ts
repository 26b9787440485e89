/** The rate of resyncs follows what clients feel. */
import t from 'tap';
import { RateControl } from '../../replication/resync/rate-control.ts';

const limits = { rateBytesMin: 1000, rateBytesMax: 100_000 };

/** Observes intervals of 300 ms with ten commits each, which take so long. */
class Load {
  readonly control = new RateControl(limits);
  #count = 0;
  #sumMs = 0;
  #nowMs = 0;

  constructor() {
    this.control.observe({ count: 0, sumMs: 0 }, 0);
  }

  intervals(number: number, commitMs: number, commits = 10): number {
    for (let interval = 0; interval < number; interval += 1) {
      this.#count += commits;
      this.#sumMs += commits * commitMs;
      this.#nowMs += 300;
      this.control.observe({ count: this.#count, sumMs: this.#sumMs }, this.#nowMs);
    }
    return this.control.rateBytes;
  }

  pause(ms: number): number {
    this.#nowMs += ms;
    this.control.observe({ count: this.#count, sumMs: this.#sumMs }, this.#nowMs);
    return this.control.rateBytes;
  }
}

t.test('it begins with the least, grows without clients, and never beyond its limit', async (t) => {
  const load = new Load();
  t.equal(load.control.rateBytes, limits.rateBytesMin);
  t.equal(load.intervals(5, 0, 0), 32 * limits.rateBytesMin, 'twice as fast every time');
  t.equal(load.intervals(100, 0, 0), limits.rateBytesMax);
});

t.test('it grows while commits take what they took, and falls when they take longer', async (t) => {
  const load = new Load();
  const grown = load.intervals(10, 2);
  t.ok(grown > limits.rateBytesMin);
  const fallen = load.intervals(2, 10);
  t.ok(fallen < grown);
  t.equal(load.intervals(50, 10), limits.rateBytesMin, 'but never to nothing');
});

t.test('commits that are slower for good are no reason to stay slow for ever', async (t) => {
  const load = new Load();
  load.intervals(10, 2);
  t.equal(load.intervals(20, 8), limits.rateBytesMin);
  t.ok(load.intervals(150, 8) > 10 * limits.rateBytesMin, 'what is usual is learnt anew');
});

t.test('a resync after a pause begins gently again', async (t) => {
  const load = new Load();
  load.intervals(100, 2);
  t.equal(load.pause(60_000), limits.rateBytesMin);
});
