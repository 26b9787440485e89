/**
 * The register under a random network: two proposers that swap all the time and restart, three
 * acceptors, messages late and lost, one disk replaced on the way, the witness taken out and in.
 * The wins must form one chain. As many seeds as CASEMATE_SEEDS says.
 */
import t from 'tap';
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CasRegister } from '../../replication/register/cas-register.ts';
import type { SwapOutcome } from '../../replication/register/register.ts';
import { firstConfig, groupId, nextConfig, RegisterCluster } from './register-cluster.ts';

const seeds = Math.min(Number(process.env['CASEMATE_SEEDS'] ?? 60), 2000);
const turnsMax = 1200;

type Fault = 'none' | 'lying-disk' | 'blank-like-new';

interface Player {
  readonly storeId: string;
  register: CasRegister;
  known: GroupConfig;
  busy: boolean;
  life: number;
}

interface Win {
  readonly expected: string;
  readonly id: string;
}

/** Gives why the wins are no chain, or undefined if all is well. */
async function run(seed: number, fault: Fault, count?: (wins: number) => void) {
  const acceptors = ['A0', 'B0', 'W'];
  const cluster = new RegisterCluster(acceptors, { seed });
  const first = firstConfig(acceptors);
  for (const { acceptor } of cluster.machines) {
    acceptor.accept(groupId, { round: 0, storeId: 'A0', bootId: 'first' }, first);
  }
  if (fault === 'lying-disk') for (const { store } of cluster.machines) store.lies = true;
  const wins: Win[] = [];
  const players = ['A0', 'B0'].map(
    (storeId): Player => ({
      storeId,
      register: cluster.register(storeId),
      known: first,
      busy: false,
      life: 0,
    }),
  );
  const { random } = cluster;
  let replaced = false;
  for (let turn = 0; turn < turnsMax; turn += 1) {
    for (const player of players) {
      if (!player.busy) propose(player, wins, votersAfter(player.known, cluster, fault));
    }
    await cluster.turn(turn < turnsMax * 0.8 ? 0.1 : 0);
    if (random.chance(0.01)) restart(random.of(players), cluster);
    if (!replaced && random.chance(0.006)) {
      replaced = true;
      harm(cluster, fault);
    }
  }
  for (const player of players) player.register.cancel();
  count?.(wins.length);
  return chainProblem(first, wins);
}

/** Most swaps keep the voters; some take the witness out, or in, whichever store it has now. */
function votersAfter(
  { acceptors }: GroupConfig,
  { machines, random }: RegisterCluster,
  fault: Fault,
): readonly string[] {
  const witness = machines.map(({ storeId }) => storeId).find((store) => store.startsWith('W'));
  if (fault !== 'none' || witness === undefined || random.chance(0.7)) return acceptors;
  return acceptors.includes(witness) ? ['A0', 'B0'] : ['A0', 'B0', witness];
}

function propose(player: Player, wins: Win[], acceptors: readonly string[]): void {
  const { life, known, storeId } = player;
  const next = nextConfig(known, { primary: storeId, inSync: [storeId], acceptors });
  player.busy = true;
  player.register.swap(known, next).then(
    (result: SwapOutcome) => {
      if (result.outcome === 'won') wins.push({ expected: known.epochId, id: next.epochId });
      if (player.life !== life) return;
      player.known = result.outcome === 'won' ? next : result.current;
      player.busy = false;
    },
    () => undefined,
  );
}

function restart(player: Player, cluster: RegisterCluster): void {
  player.register.cancel();
  player.life += 1;
  player.register = cluster.register(player.storeId);
  player.busy = false;
}

function harm(cluster: RegisterCluster, fault: Fault): void {
  if (fault === 'lying-disk') {
    for (const { store } of cluster.machines) store.crash();
  } else if (fault === 'blank-like-new') {
    // The disk is lost, but the acceptor comes back under its old id with the first value.
    const { acceptor, store } = cluster.machine('W');
    store.state = undefined;
    const ballot = { round: 0, storeId: 'A0', bootId: 'first' };
    acceptor.accept(groupId, ballot, firstConfig(['A0', 'B0', 'W']));
  } else {
    cluster.replace('W', 'W1');
  }
}

function chainProblem(first: GroupConfig, wins: readonly Win[]): string | undefined {
  const next = new Map<string, string>();
  const ids = new Set([first.epochId]);
  for (const { expected, id } of wins) {
    const other = next.get(expected);
    if (other !== undefined && other !== id) return `${id} and ${other} both follow ${expected}`;
    next.set(expected, id);
    ids.add(id);
  }
  return undefined;
}

t.setTimeout(60_000 + seeds * 1000);

t.test('the wins form one chain, whatever is lost or late', async (t) => {
  let total = 0;
  for (let seed = 0; seed < seeds; seed += 1) {
    const problem = await run(seed, 'none', (wins) => {
      total += wins;
    });
    if (problem !== undefined) {
      t.fail(`seed ${seed}: ${problem}`);
      return;
    }
  }
  t.ok(total > seeds * 5, `${total} wins in ${seeds} seeds`);
});

for (const fault of ['lying-disk', 'blank-like-new'] as const) {
  t.test(`noticed: ${fault}`, async (t) => {
    let found: string | undefined;
    for (let seed = 0; seed < 400 && found === undefined; seed += 1) {
      const problem = await run(seed, fault);
      if (problem !== undefined) found = `seed ${seed}: ${problem}`;
    }
    t.ok(found, 'the chain breaks');
    t.comment(found ?? '');
  });
}
