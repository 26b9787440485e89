import t from 'tap';
import {
  type GroupHealthInput,
  type HealthInput,
  healthProblems,
  readinessProblems,
} from '../../metrics/health.ts';

const nowMs = 1_700_000_000_000;

function group(more: Partial<GroupHealthInput> = {}): GroupHealthInput {
  return {
    name: 'vm',
    serves: true,
    wait: undefined,
    peer: { state: 'in-sync', text: 'in sync' },
    inSync: true,
    onPeerLoss: 'suspend',
    voters: ['lux-1', 'lux-2'],
    preferredSite: undefined,
    primarySite: 'lux-1',
    checkpointAtMs: nowMs - 5000,
    volumes: [{ name: 'vm', unreadable: [], unreadableBytes: 0 }],
    ...more,
  };
}

function input(more: Partial<HealthInput> = {}): HealthInput {
  return {
    nowMs,
    peer: { name: 'lux-2', connected: true, problem: undefined },
    witness: undefined,
    witnessDifference: undefined,
    register: { type: 'sites', reachable: undefined, text: 'the sites decide' },
    log: { usedBytes: 10, limitBytes: 100, failed: undefined },
    groups: [group()],
    ...more,
  };
}

const codes = (site: HealthInput): string[] => healthProblems(site).map(({ code }) => code);

t.test('a site that is well has no problems and is ready', async (t) => {
  t.same(healthProblems(input()), []);
  t.same(readinessProblems(input()), []);
  t.same(readinessProblems(input({ groups: [] })), [], 'a site without volumes too');
});

t.test('a witness that is away, differs or does not vote yet is a warning', async (t) => {
  const voters = ['lux-1', 'lux-2', 'lux-w'];
  const witness = { name: 'lux-w', connected: true, problem: undefined };
  t.same(codes(input({ witness, groups: [group({ voters })] })), [], 'it votes');
  t.same(codes(input({ witness })), ['witness-does-not-vote']);
  t.same(codes(input({ witness, groups: [group({ onPeerLoss: 'preferred' })] })), []);
  const away = input({
    witness: { ...witness, connected: false, problem: 'connection refused' },
    groups: [group({ voters })],
  });
  t.same(codes(away), ['witness-disconnected']);
  t.same(readinessProblems(away), [], 'the site serves without it');
  const witnessDifference = 'lux-1 has "lux-w", lux-2 has none';
  t.same(codes(input({ witnessDifference })), ['witness-differs']);
});

const peerLost = { name: 'lux-2', connected: false, problem: 'connection refused' };
const copy = (state: string) => ({ peer: { state, text: `it is ${state}` }, inSync: false });

const cases: readonly [what: string, site: HealthInput, expected: string[]][] = [
  ['a lost peer', input({ peer: peerLost }), ['peer-disconnected']],
  [
    'a certificate that ends soon',
    input({
      certificates: [
        { path: 'own.pem', expiresAtMs: input().nowMs + 29 * 86_400_000 },
        { path: 'authority.pem', expiresAtMs: input().nowMs + 31 * 86_400_000 },
      ],
    }),
    ['certificate-ends'],
  ],
  ['a failed log', input({ log: { usedBytes: 1, limitBytes: 9, failed: 'EIO' } }), ['log-failed']],
  [
    'a log nearly full',
    input({ log: { usedBytes: 81, limitBytes: 100, failed: undefined } }),
    ['log-nearly-full'],
  ],
  [
    'a log at the limit of the rule',
    input({ log: { usedBytes: 80, limitBytes: 100, failed: undefined } }),
    [],
  ],
  ['a copy that catches up', input({ groups: [group(copy('catching-up'))] }), ['not-in-sync']],
  ['a refused copy', input({ groups: [group(copy('refused'))] }), ['copy-refused']],
  [
    'blocks that can not be read',
    input({
      groups: [
        group({
          volumes: [
            {
              name: 'vm',
              unreadable: [{ offsetBytes: 8192, lengthBytes: 4096 }],
              unreadableBytes: 4096,
            },
          ],
        }),
      ],
    }),
    ['blocks-unreadable'],
  ],
  ['a copy that is resynced', input({ groups: [group(copy('resyncing'))] }), ['not-in-sync']],
  [
    'a group served alone',
    input({ peer: peerLost, groups: [group(copy('disconnected'))] }),
    ['peer-disconnected', 'not-in-sync'],
  ],
  [
    'a suspended group is said once, before what is less urgent',
    input({
      peer: peerLost,
      groups: [
        group({ serves: false, wait: { code: 'peer-lost', text: 'no' }, ...copy('disconnected') }),
      ],
    }),
    ['not-serving', 'peer-disconnected'],
  ],
  [
    'a checkpoint that is long ago',
    input({ groups: [group({ checkpointAtMs: nowMs - 400_000 })] }),
    ['checkpoint-late'],
  ],
  ['no checkpoint yet', input({ groups: [group({ checkpointAtMs: 0 })] }), []],
  [
    'a primary that may not go on alone',
    input({ groups: [group({ onPeerLoss: 'preferred', preferredSite: 'lux-2' })] }),
    ['primary-not-preferred'],
  ],
  [
    'a primary that is the preferred site',
    input({ groups: [group({ onPeerLoss: 'preferred', preferredSite: 'lux-1' })] }),
    [],
  ],
];

for (const [what, site, expected] of cases) {
  t.test(`problems of ${what}`, async (t) => {
    t.same(codes(site), expected);
  });
}

t.test('what a group waits for is said in its own words', async (t) => {
  const wait = { code: 'peer-lost', text: 'peer lux-2 unreachable' };
  const [problem] = healthProblems(input({ groups: [group({ serves: false, wait })] }));
  t.match(problem, { group: 'vm', severity: 'error', text: /peer lux-2 unreachable/ });
});

t.test('only what keeps volumes from being served makes a site not ready', async (t) => {
  const warned = input({ peer: peerLost, groups: [group(copy('catching-up'))] });
  t.same(readinessProblems(warned), []);
  const failed = input({
    log: { usedBytes: 1, limitBytes: 9, failed: 'EIO' },
    groups: [group({ serves: false })],
  });
  t.match(readinessProblems(failed), [{ code: 'log-failed' }, { code: 'not-serving' }]);
});

t.test('an etcd that does not answer is a problem, but the site serves', async (t) => {
  const register = { type: 'etcd', reachable: false, text: 'http://a:1: refused' } as const;
  const site = input({ register, groups: [group({ voters: ['etcd'] })] });
  t.same(codes(site), ['register-unreachable']);
  t.match(healthProblems(site)[0]?.text, /etcd, .* \(http:\/\/a:1: refused\)/);
  t.same(readinessProblems(site), []);
  const well = input({ register: { ...register, reachable: true }, groups: site.groups });
  t.same(codes(well), []);
});

t.test('a group that is decided elsewhere than this site would ask is told', async (t) => {
  t.same(codes(input({ groups: [group({ voters: ['etcd'] })] })), ['register-differs']);
  const register = { type: 'etcd', reachable: true, text: '' } as const;
  t.same(codes(input({ register, groups: [group()] })), ['register-differs']);
});
