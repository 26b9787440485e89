/** The alert rules for Prometheus, by its own tools: they are right, and each is shown to fire. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { declarations } from '../../metrics/declarations.ts';
import { witnessDeclarations } from '../../metrics/witness-declarations.ts';
import { run } from '../support/run-command.ts';

const folder = fileURLToPath(new URL('../../../deploy/prometheus/', import.meta.url));
const rulesPath = `${folder}casemate.rules.yml`;
const testsPath = `${folder}casemate.rules.test.yml`;
const rules = readFileSync(rulesPath, 'utf8');

function allOf(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, found = '']) => found);
}

t.test('promtool accepts the rules', async (t) => {
  const checked = await run('promtool', ['check', 'rules', rulesPath]);
  t.equal(checked.code, 0, checked.stdout + checked.stderr);
});

t.test('each alert fires when it should, and is quiet when it should be', async (t) => {
  const tested = await run('promtool', ['test', 'rules', testsPath]);
  t.equal(tested.code, 0, tested.stdout + tested.stderr);
  const tests = readFileSync(testsPath, 'utf8');
  const alerts = allOf(rules, /- alert: (\w+)/g);
  t.ok(alerts.length > 10);
  for (const alert of alerts) {
    for (const how of ['fires', 'is quiet']) t.ok(tests.includes(`name: ${alert} ${how}\n`), alert);
  }
});

t.test('each alert says whom it wakes and what to do', async (t) => {
  const parts = rules.split('- alert: ').slice(1);
  for (const part of parts) {
    const [name] = part.split('\n');
    t.match(part, /severity: (?:page|ticket)\n/, `${name} has a severity`);
    t.match(part, /summary: '.+'/, `${name} says what is wrong`);
    t.match(part, /runbook: '.{40,}'/, `${name} says what to do`);
  }
});

t.test('the rules ask for metrics that are there', async (t) => {
  const all = [...declarations, ...witnessDeclarations];
  const names = new Set(all.map(({ name }) => name));
  const asked = allOf(rules, /\b(casemate_[a-z_]+?)(?:_bucket|_sum|_count)?\b(?![a-z_])/g);
  t.ok(asked.length > 20);
  t.same(
    asked.filter((name) => !names.has(name)),
    [],
  );
});
