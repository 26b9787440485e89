/** A real Prometheus scrapes a real pair that is broken on purpose: what fires, what does not. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { TestPair } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { TestPrometheus } from '../support/prometheus.ts';
import { runOk } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const rules = readFileSync(
  fileURLToPath(new URL('../../../deploy/prometheus/casemate.rules.yml', import.meta.url)),
  'utf8',
);
/** The same alerts, without the patience that they have with a real pair. */
const impatientRules = rules.replace(/\bfor: \w+/g, 'for: 0s');

const dashboard = readFileSync(
  fileURLToPath(new URL('../../../deploy/grafana/casemate.json', import.meta.url)),
  'utf8',
);
/** What the panels ask, as Grafana would ask it for all daemons. */
const questions = [...dashboard.matchAll(/"expr": (".*")/g)].map(([, expr = '""']) =>
  String(JSON.parse(expr))
    .replaceAll('$__rate_interval', '1m')
    .replaceAll('$__range', '1m')
    .replaceAll('$instance', '.*'),
);
/** A pair that is well has no resync; nothing was started while it was watched. */
const mayBeEmpty = /resync|changes/;

const hostOf = (url: string): string => new URL(url).host;

t.test('a pair that is well raises no alert; each loss raises its own', async (t) => {
  const directory = scratchDirectory(t);
  const pair = await TestPair.make({ directory, witness: true });
  t.teardown(() => pair.stop());
  await pair.start();
  await pair.a.cli('volume', 'create', 'disk', '--size', '16MiB');
  await pair.guarded('disk');
  await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 5 0 1M', pair.a.unixUri('disk')]);

  const [a, b, witness] = [pair.a, pair.b, pair.witness].map(({ apiUrl }) => hostOf(apiUrl));
  const targets = [a, b, witness].map(String);
  const prometheus = await TestPrometheus.start(t, { directory, targets, rules: impatientRules });
  /** Waits until just these alerts fire. */
  const alerts = async (what: string, expected: readonly string[]): Promise<void> => {
    let last: string[] = [];
    const isSo = async (): Promise<boolean> => {
      last = await prometheus.firing();
      return JSON.stringify(last) === JSON.stringify([...expected].sort());
    };
    await pollUntil(what, isSo, 30_000).catch(() => undefined);
    t.same(last, [...expected].sort(), what);
  };

  await pollUntil('all three are scraped', async () => {
    return (await prometheus.query('up == 1')).length === 3;
  });
  const written = await prometheus.query('casemate_volume_bytes_total{operation="write"}');
  t.ok(
    written.some(({ labels, value }) => labels['instance'] === a && value === 2 ** 20),
    'what a client wrote is counted',
  );
  await alerts('a pair that is well is quiet', []);
  t.ok(questions.length > 25);
  for (const question of questions.filter((each) => !mayBeEmpty.test(each))) {
    // A rate needs a second look.
    const hasAnswer = async (): Promise<boolean> => (await prometheus.query(question)).length > 0;
    await pollUntil(`the dashboard's ${question} has an answer`, hasAnswer, 20_000);
  }

  await pair.witness.signal('SIGKILL');
  const noWitness = [
    `CasemateDown ${witness}`,
    `CasemateWitnessGone ${a}`,
    `CasemateWitnessGone ${b}`,
  ];
  await alerts('the witness is lost', noWitness);
  await pair.b.signal('SIGKILL');
  await alerts('a site is lost as well', [
    ...[b, witness].map((host) => `CasemateDown ${host}`),
    `CasemateWitnessGone ${a}`,
    `CasematePeerDisconnected ${a}`,
    `CasemateNotInSync ${a}`,
    `CasemateSuspended ${a}`,
  ]);
  await Promise.all([pair.b.start(), pair.witness.start()]);
  await pair.guarded('disk');
  await alerts('when all are back it is quiet again', []);
});
