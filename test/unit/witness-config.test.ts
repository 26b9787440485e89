import t from 'tap';
import { ConfigError } from '../../daemon/config/parse.ts';
import { loadWitnessConfig, parseWitnessConfig } from '../../daemon/witness/witness-config.ts';

function text(more: { top?: string; tables?: string } = {}): string {
  return `name = "lux-w"
dataDirectory = "/var/lib/casemate-witness"
listen = "127.0.0.1:9629"
${more.top ?? ''}
${more.tables ?? '[clusters.lux]\nsites = ["lux-1", "lux-2"]'}
`;
}

function problemsOf(source: string): readonly string[] {
  try {
    parseWitnessConfig(source);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

t.test('the required keys are enough, everything else has a default', async (t) => {
  const config = parseWitnessConfig(text());
  t.same(config.clusters, { lux: { sites: ['lux-1', 'lux-2'] } });
  t.same(config.limits, { groupsMax: 10_000, connectionsMax: 256, callsMax: 1024 });
  t.equal(config.api.listen, '127.0.0.1:9619');
  t.throws(() => Object.assign(config.clusters, { other: 1 }), 'it is frozen in depth');
});

t.test('one witness serves many pairs', async (t) => {
  const tables = '[clusters.lux]\nsites = ["a", "b"]\n[clusters."rack.7"]\nsites = ["c", "d"]';
  t.same(Object.keys(parseWitnessConfig(text({ tables })).clusters), ['lux', 'rack.7']);
});

t.test('the example configuration is valid and fits those of its sites', async (t) => {
  const config = loadWitnessConfig(`${process.cwd()}/deploy/lux-w.toml`);
  t.equal(config.name, 'lux-w');
  t.same(config.clusters, { lux: { sites: ['lux-1', 'lux-2'] } });
});

const wrong: readonly [source: string, expected: RegExp][] = [
  [text({ tables: '' }), /^clusters is missing; there must be a table \[clusters\.NAME\] at least/],
  [text({ tables: '[clusters.lux]' }), /^clusters\.lux\.sites is missing; it must be the names of/],
  [
    text({ tables: '[clusters.lux]\nsites = ["lux-1"]' }),
    /^clusters\.lux\.sites must be the names of the two sites, .* it is \["lux-1"\]/,
  ],
  [
    text({ tables: '[clusters.lux]\nsites = ["lux-1", "lux-1"]' }),
    /^clusters\.lux\.sites names "lux-1" twice/,
  ],
  [
    text({ tables: '[clusters.lux]\nsites = ["lux-1", "lux-w"]' }),
    /^clusters\.lux\.sites names "lux-w", which is this witness/,
  ],
  [
    text({ tables: '[clusters."a b"]\nsites = ["lux-1", "lux-2"]' }),
    /^clusters\.a b: the name must be a name of 1 to 63/,
  ],
  [
    text({ tables: '[clusters.lux]\nsite = ["lux-1", "lux-2"]' }),
    /^clusters\.lux\.site is not a key; did you mean clusters\.lux\.sites\?/,
  ],
  [text({ top: 'clusters = 3', tables: '' }), /^clusters must be a table, \[clusters\]; it is 3/],
  [text({ top: 'listenn = 1' }), /^listenn is not a key; did you mean listen\?/],
  [
    text({ top: '[api]\nlisten = "10.0.0.1:9619"' }),
    /^api\.listen .* is no loopback address, so it needs a table \[tls\]/,
  ],
  [
    text({ top: `[api.tokens.ops]\nrole = "operate"\nsha256 = "${'ab'.repeat(32)}"` }),
    /^api\.tokens\.ops\.role must be "read": a witness does nothing that an operator could ask/,
  ],
  [text({ top: '[api]\nlisten = "127.0.0.1:9629"' }), /is the same address as listen/],
  [
    text({
      top: '[limits]\nconnectionsMax = 3',
      tables: '[clusters.a]\nsites = ["b", "c"]\n[clusters.d]\nsites = ["e", "f"]',
    }),
    /^limits\.connectionsMax \(3\) must be at least 4: each of the 2 clusters has two sites/,
  ],
];

for (const [source, expected] of wrong) {
  t.test(`refused: ${expected.source}`, async (t) => {
    const problems = problemsOf(source);
    t.ok(
      problems.some((problem) => expected.test(problem)),
      problems.join('\n') || 'nothing was refused',
    );
  });
}
