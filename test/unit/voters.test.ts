/** Who votes on a group: what two sites make of their configurations and of what they have met. */
import t from 'tap';
import { Voters, type WitnessView } from '../../daemon/voters.ts';

const none: WitnessView = { name: null, storeId: null };
const met: WitnessView = { name: 'lux-w', storeId: 'W' };
const unmet: WitnessView = { name: 'lux-w', storeId: null };

interface Case {
  readonly own: WitnessView;
  readonly peer: WitnessView | undefined;
  readonly reachable?: boolean;
  readonly current: readonly string[];
  readonly expected: readonly string[];
  readonly says: string;
}

function voters({ own, peer, reachable = true }: Pick<Case, 'own' | 'peer' | 'reachable'>): Voters {
  const made = new Voters({
    siteName: 'lux-1',
    peerName: 'lux-2',
    own: () => own,
    reachable: () => reachable,
    isWitnessStore: (store) => store.startsWith('W'),
  });
  made.peer = peer;
  return made;
}

const two = ['A', 'B'];
const three = ['A', 'B', 'W'];

const cases: readonly Case[] = [
  { own: none, peer: none, current: two, expected: two, says: 'no witness' },
  { own: met, peer: met, current: two, expected: three, says: 'taken in when both have met it' },
  { own: met, peer: met, current: three, expected: three, says: 'stays' },
  {
    own: met,
    peer: met,
    reachable: false,
    current: two,
    expected: two,
    says: 'not taken in while it does not answer, for it has to take part',
  },
  {
    own: met,
    peer: met,
    reachable: false,
    current: three,
    expected: three,
    says: 'stays while it does not answer',
  },
  { own: met, peer: unmet, current: two, expected: two, says: 'the peer has not met it' },
  { own: met, peer: undefined, current: two, expected: two, says: 'the peer is not there' },
  { own: met, peer: none, current: two, expected: two, says: 'the peer has none' },
  { own: met, peer: none, current: three, expected: three, says: 'one site takes it out' },
  { own: none, peer: none, current: three, expected: two, says: 'both sites take it out' },
  {
    own: { name: 'lux-w', storeId: 'W2' },
    peer: { name: 'lux-w', storeId: 'W2' },
    current: three,
    expected: ['A', 'B', 'W2'],
    says: 'it has lost its disk, both have met its new store',
  },
  {
    own: { name: 'lux-w', storeId: 'W2' },
    peer: met,
    current: three,
    expected: three,
    says: 'only one site has met its new store',
  },
  {
    own: met,
    peer: undefined,
    current: ['A', 'B0', 'W'],
    expected: three,
    says: 'the peer was replaced: its store takes the place of the old one, the witness stays',
  },
  { own: met, peer: met, current: ['A'], expected: three, says: 'after force all vote again' },
];

for (const { own, peer, reachable = true, current, expected, says } of cases) {
  t.test(`${current.join()} -> ${expected.join()}: ${says}`, async (t) => {
    t.same(voters({ own, peer, reachable }).acceptors('A', 'B', current), expected);
  });
}

t.test('what differs is named with both values', async (t) => {
  t.equal(voters({ own: met, peer: met }).difference, undefined);
  t.equal(voters({ own: met, peer: undefined }).difference, undefined);
  t.equal(voters({ own: met, peer: unmet }).difference, undefined, 'it may still meet it');
  t.equal(
    voters({ own: met, peer: none }).difference,
    'the sites name different witnesses: lux-1 has "lux-w", lux-2 has none',
  );
  t.match(
    voters({ own: met, peer: { name: 'lux-w', storeId: 'W2' } }).difference,
    /that lux-1 has met is W, that of lux-2's is W2/,
  );
});
