/** The dashboard for Grafana: its shape, and that Prometheus understands what its panels ask. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { declarations } from '../../metrics/declarations.ts';
import { witnessDeclarations } from '../../metrics/witness-declarations.ts';
import { run } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}

interface Dashboard {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}

const path = fileURLToPath(new URL('../../../deploy/grafana/casemate.json', import.meta.url));
const dashboard: Dashboard = JSON.parse(readFileSync(path, 'utf8'));
const expressions = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ expr }) => expr),
];

t.test('the panels have ids of their own and do not lie on each other', async (t) => {
  t.equal(dashboard.schemaVersion, 41);
  const taken = new Set<string>();
  for (const { title, gridPos } of dashboard.panels) {
    const { x, y, w, h } = gridPos;
    t.ok(x >= 0 && w > 0 && h > 0 && x + w <= 24, `${title} is within the 24 columns`);
    for (let column = x; column < x + w; column += 1) {
      for (let line = y; line < y + h; line += 1) {
        if (taken.has(`${column} ${line}`)) t.fail(`${title} lies on another panel`);
        taken.add(`${column} ${line}`);
      }
    }
  }
  t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
});

t.test('every expression uses variables that there are', async (t) => {
  const known = [
    ...dashboard.templating.list.map(({ name }) => name),
    '__rate_interval',
    '__range',
  ];
  for (const expression of expressions) {
    for (const [, name = ''] of expression.matchAll(/\$\{?(\w+)/g))
      t.ok(known.includes(name), name);
  }
});

t.test(
  'Prometheus understands every expression, and they ask for metrics that are there',
  async (t) => {
    const directory = scratchDirectory(t);
    t.ok(expressions.length > 25);
    const rules = expressions.map((expression, index) => {
      const expr = expression
        .replaceAll('$__rate_interval', '1m')
        .replaceAll('$__range', '1h')
        .replaceAll('$instance', '.*');
      return `  - {record: "panel:${index}", expr: ${JSON.stringify(expr)}}\n`;
    });
    const rulesPath = join(directory, 'rules.yml');
    writeFileSync(rulesPath, `groups:\n- name: dashboard\n  rules:\n${rules.join('')}`);
    const checked = await run('promtool', ['check', 'rules', '--lint=none', rulesPath]);
    t.equal(checked.code, 0, checked.stdout + checked.stderr);
    t.match(checked.stdout, `${expressions.length} rules found`);

    const names = new Set([...declarations, ...witnessDeclarations].map(({ name }) => name));
    const asked = expressions.flatMap((expression) =>
      [...expression.matchAll(/\bcasemate_\w+/g)].map(([name]) => name.replace(/_bucket$/, '')),
    );
    t.same(
      asked.filter((name) => !names.has(name)),
      [],
    );
  },
);
