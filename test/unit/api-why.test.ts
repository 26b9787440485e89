import t from 'tap';
import { explain } from '../../daemon/api/why.ts';
import { durationText } from '../../daemon/duration-text.ts';
import { groupStatus, nowMs, SampleSite, suspendedGroup, volumeStatus } from './api-sample-site.ts';

async function textOf(group: ReturnType<typeof groupStatus>): Promise<string | undefined> {
  return explain(await new SampleSite([group]).status())[0]?.text;
}

t.test('a suspended group says since when, why, and what clears it', async (t) => {
  const [explanation] = explain(await new SampleSite([suspendedGroup('vm')]).status());
  t.same(explanation, {
    group: 'vm',
    volumes: ['vm'],
    serves: false,
    text:
      'suspended for 4.1 s (3 requests wait): peer lux-2 unreachable; ' +
      'I/O resumes by itself when the other site answers again',
    command: 'casemate volume show vm',
  });
});

t.test('a group that serves says where and whether it is on both sites', async (t) => {
  t.equal(await textOf(groupStatus('vm')), 'served by lux-1; in sync on both sites');
  t.equal(
    await textOf(groupStatus('vm', { role: 'secondary', primarySite: 'lux-2' })),
    'served by lux-2, requests made here are passed on; in sync on both sites',
  );
});

t.test('a group that serves alone says how old the other copy is', async (t) => {
  const alone = {
    inSync: false,
    peer: { state: 'disconnected' as const, text: 'lux-2 is away', remainingRecords: 0 },
  };
  t.equal(
    await textOf(groupStatus('vm', { ...alone, lastOnBothSitesMs: nowMs - 200_000 })),
    'served by lux-1 alone: lux-2 is away; ' +
      'the newest write on both sites was made 3 min 20 s ago',
  );
  t.match(
    await textOf(groupStatus('vm', { ...alone, lastOnBothSitesMs: undefined })),
    'when both sites were last the same is not known',
  );
});

t.test('a group names all its volumes', async (t) => {
  const volumes = [volumeStatus('a', 'vm'), volumeStatus('b', 'vm')];
  const [explanation] = explain(await new SampleSite([groupStatus('vm', { volumes })]).status());
  t.same(explanation?.volumes, ['a', 'b']);
});

t.test('durations are exact when short and coarse when long', async (t) => {
  const cases: readonly [ms: number, text: string][] = [
    [-5, '0 ms'],
    [999.4, '999 ms'],
    [999.6, '1.0 s'],
    [4100, '4.1 s'],
    [59_949, '59.9 s'],
    [59_950, '1 min'],
    [200_000, '3 min 20 s'],
    [3_599_900, '1 h'],
    [7_500_000, '2 h 5 min'],
    [86_399_000, '1 d'],
    [273_600_000, '3 d 4 h'],
  ];
  for (const [ms, text] of cases) t.equal(durationText(ms), text);
});
