import t from 'tap';
import { ConfigError, loadConfig, parseConfig } from '../../daemon/config/parse.ts';
import { configReference } from '../../daemon/config/reference.ts';
import type { Config } from '../../daemon/config/schema.ts';
import { sampleToken } from './api-sample-server.ts';

const required = {
  top: 'cluster = "lux"\nsite = "lux-1"\ndataDirectory = "/var/lib/casemate"\n',
  peer: '[peer]\nsite = "lux-2"\naddress = "lux-2.example.org:9618"\n',
  replication: '[replication]\nlisten = "[::]:9618"\n',
};

/** A whole configuration with some lines added to its parts. */
function text(more: { top?: string; replication?: string; tables?: string } = {}): string {
  const { top = '', replication = '', tables = '' } = more;
  return `${required.top}${top}\n${required.peer}${required.replication}${replication}\n${tables}\n`;
}

function problemsOf(source: string): readonly string[] {
  try {
    parseConfig(source);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** Tests are run from the top of the repository. */
const repository = process.cwd();

t.test('the required keys are enough, everything else has a default', async (t) => {
  const config = parseConfig(text());
  t.equal(config.nbd.unix, '/var/lib/casemate/nbd.sock');
  t.equal(config.log.sizeBytes, 1024 ** 3);
  t.equal(config.replication.graceMs, 2100);
  t.equal(config.api.listen, '127.0.0.1:9617');
  t.equal(config.replication.onPeerLoss, 'suspend');
  t.equal(config.replication.preferredSite, undefined);
});

t.test('a configuration is frozen in depth', async (t) => {
  const config = parseConfig(text());
  t.ok(Object.isFrozen(config) && Object.isFrozen(config.replication));
});

t.test('sizes are taken with binary units and as plain numbers', async (t) => {
  const config = parseConfig(
    text({
      tables: '[log]\nsizeBytes = "2GiB"\nsegmentBytes = 33554432\ncommitBytesMax = "1 MiB"',
    }),
  );
  t.match(config.log, { sizeBytes: 2 * 1024 ** 3, segmentBytes: 32 * 1024 ** 2 });
  t.equal(config.log.commitBytesMax, 1024 ** 2);
});

t.test('a missing key is named with what it has to be', async (t) => {
  const problems = problemsOf('cluster = "lux"');
  t.ok(problems.some((line) => line.startsWith('site is missing; it must be a name')));
  t.ok(problems.some((line) => line.startsWith('peer.address is missing; it must be "host:port"')));
  t.ok(problems.some((line) => line.startsWith('replication.listen is missing')));
});

const wrongValues: readonly [name: string, source: string, expected: RegExp][] = [
  [
    'a number that is too large',
    text({ replication: 'heartbeatMs = 999999' }),
    /^replication\.heartbeatMs must be a whole number from 5 to 60000; it is 999999$/,
  ],
  [
    'a text for a number',
    text({ replication: 'heartbeatMs = "300"' }),
    /^replication\.heartbeatMs must be a whole number .*; it is "300"$/,
  ],
  [
    'a fraction',
    text({ replication: 'heartbeatMs = 1.5' }),
    /^replication\.heartbeatMs must be a whole number .*; it is 1\.5$/,
  ],
  [
    'a decimal unit',
    text({ tables: '[log]\nsizeBytes = "1GB"' }),
    /^log\.sizeBytes must be a whole number of bytes, or with a binary unit .*; it is "1GB"$/,
  ],
  [
    'a word that is none of the choices',
    text({ replication: 'onPeerLoss = "ignore"' }),
    /^replication\.onPeerLoss must be one of "suspend", "preferred"; it is "ignore"$/,
  ],
  [
    'a port that is too large',
    text({ tables: '[nbd]\nlisten = "::1:99999"' }),
    /^nbd\.listen must/,
  ],
  ['a value for a table', text({ top: 'log = 5' }), /^log must be a table, \[log\]; it is 5$/],
  [
    'a relative path',
    text({ tables: '[nbd]\nunix = "run/nbd.sock"' }),
    /^nbd\.unix must be an absolute path/,
  ],
];

for (const [name, source, expected] of wrongValues) {
  t.test(`refused with key, value and what is right: ${name}`, async (t) => {
    const problems = problemsOf(source);
    t.equal(problems.length, 1, problems.join('\n'));
    t.match(problems[0], expected);
  });
}

const misspelt: readonly [source: string, expected: string][] = [
  [text({ replication: 'hearbeatMs = 300' }), 'replication.heartbeatMs'],
  [text({ replication: 'leaseMS = 300' }), 'replication.leaseMs'],
  [text({ replication: 'ackTimeout = 300' }), 'replication.ackTimeoutMs'],
  [text({ tables: '[nbd]\nsegmentBytes = 4096' }), 'log.segmentBytes'],
  [text({ tables: '[volume]\ncountMax = 4' }), 'volumes'],
];

for (const [source, expected] of misspelt) {
  t.test(`an unknown key is refused and the nearest one named: ${expected}`, async (t) => {
    const problems = problemsOf(source);
    t.equal(problems.length, 1, problems.join('\n'));
    t.ok(problems[0]?.endsWith(`did you mean ${expected}?`), problems.join('\n'));
  });
}

t.test('a name that is near nothing gets the list of what can be there', async (t) => {
  t.match(problemsOf(text({ tables: '[suspend]\nxyzzy = 1' })), [
    'suspend.xyzzy is not a key; here can be maxMs',
  ]);
});

t.test('all problems are told at once', async (t) => {
  const source = text({
    replication: 'heartbeatMs = 1\nleas = 3',
    tables: '[log]\nsizeBytes = "x"',
  });
  t.equal(problemsOf(source).length, 3);
});

const tls = '[tls]\ncertificate = "/a.pem"\nkey = "/a.key"\nauthority = "/authority.pem"\n';

function token(name: string, role: string): string {
  return `[api.tokens.${name}]\nrole = "${role}"\nsha256 = "${'ab'.repeat(32)}"\n`;
}

const relations: readonly [source: string, expected: RegExp][] = [
  [
    text({ replication: 'heartbeatMs = 401' }),
    /heartbeatMs \(401\) must be at most a quarter.* 400:/,
  ],
  [text({ replication: 'ackTimeoutMs = 2001' }), /ackTimeoutMs \(2001\) must be at most .*leaseMs/],
  [
    text({ replication: 'leaseMs = 3000\nackTimeoutMs = 2100' }),
    /ackTimeoutMs \(2100\) must be less than replication\.graceMs \(2100\)/,
  ],
  [
    text({ replication: 'graceMs = 1999' }),
    /graceMs \(1999\) must be at least 1\.25 times.* 2000:/,
  ],
  [
    text({ tables: '[witness]\nname = "lux-2"\naddress = "127.0.0.1:1"' }),
    /witness\.name \("lux-2"\) must differ from site and peer\.site/,
  ],
  [
    text({ tables: '[witness]\nname = "lux-w"\naddress = "127.0.0.1:0"' }),
    /witness\.address \("127\.0\.0\.1:0"\) must name the port the witness listens on/,
  ],
  [
    text({ replication: 'rejoinBackoffMs = 70000' }),
    /rejoinBackoffMs \(70000\) must be at most replication\.rejoinBackoffMsMax \(60000\)/,
  ],
  [
    text({ tables: '[log]\nsegmentBytes = "512MiB"' }),
    /must be at least 4 times log\.segmentBytes/,
  ],
  [text({ tables: '[log]\nsegmentBytes = 20000001' }), /must be a multiple of 4 KiB/],
  [
    text({ tables: '[log]\ncommitBytesMax = "64MiB"' }),
    /commitBytesMax \(64MiB\) must be .* half of/,
  ],
  [
    text({ tables: '[log]\ncheckpointBytes = "1GiB"' }),
    /checkpointBytes \(1GiB\) must be .* half of/,
  ],
  [
    text({ replication: 'inFlightBytesMax = "257MiB"' }),
    /inFlightBytesMax \(257MiB\) must be at most a quarter of log\.sizeBytes \(1GiB\)/,
  ],
  [
    text({ replication: 'linkQueueBytesMax = "80MiB"\ninFlightBytesMax = "96MiB"' }),
    /inFlightBytesMax \(96MiB\) must be at most replication\.linkQueueBytesMax \(80MiB\)/,
  ],
  [
    text({ tables: '[volumes]\nmemoryBytesMax = "63MiB"' }),
    /applyBacklogBytesMax \(64MiB\) must be at most volumes\.memoryBytesMax \(63MiB\)/,
  ],
  [
    text({ tables: '[volumes]\napplyBacklogBytesMax = "1GiB"\nmemoryBytesMax = "2GiB"' }),
    /applyBacklogBytesMax \(1GiB\) must be at most half of log\.sizeBytes/,
  ],
  [
    text({ replication: 'preferredSite = "lux-3"' }),
    /preferredSite \("lux-3"\) must be "lux-1" or/,
  ],
  [
    text({ tables: '[api]\nlisten = "0.0.0.0:9617"' }),
    /api\.listen \("0\.0\.0\.0:9617"\) is no loopback address, so it needs a table \[tls\]/,
  ],
  [
    text({ tables: `${tls}[api]\nlisten = "10.0.0.1:9617"` }),
    /api\.listen \("10\.0\.0\.1:9617"\) is no .* needs a table \[api\.tokens\.NAME\] at least/,
  ],
  [
    text({ tables: `[api]\nlisten = "[::]:9617"\n${token('ops', 'operate')}` }),
    /api\.listen \("\[::\]:9617"\) is no loopback address, so it needs a table \[tls\]/,
  ],
  [
    text({ tables: token('ops', 'operate') + token('ops-2', 'read') }),
    /api\.tokens\.ops-2\.sha256 is that of api\.tokens\.ops too/,
  ],
  [
    text({ tables: '[api]\nunix = "/run/one.sock"\n[nbd]\nunix = "/run/one.sock"' }),
    /api\.unix \("\/run\/one\.sock"\) is the same path as nbd\.unix/,
  ],
  [
    text({ tables: `[api]\nunix = "/${'x'.repeat(107)}"` }),
    /api\.unix .* must be at most 107 bytes long, it has 108/,
  ],
  [
    text({ tables: '[nbd]\nlisten = "127.0.0.1:9617"' }),
    /api\.listen \("127\.0\.0\.1:9617"\) is the same address as nbd\.listen/,
  ],
  [text({ tables: '[nbd]\nlisten = "127.0.0.1:70000"' }), /nbd\.listen .* port above 65535/],
  [
    text({ tables: `[nbd]\nunix = "/${'x'.repeat(107)}"` }),
    /must be at most 107 bytes long, it has 108/,
  ],
  [
    text().replace('site = "lux-2"', 'site = "lux-1"'),
    /peer\.site \("lux-1"\) must differ from site/,
  ],
];

for (const [source, expected] of relations) {
  t.test(`a relation between keys is refused with its reason: ${expected.source}`, async (t) => {
    const problems = problemsOf(source);
    t.ok(
      problems.some((problem) => expected.test(problem) && problem.length > 40),
      problems.join('\n') || 'nothing was refused',
    );
  });
}

t.test('the protocol times may lie exactly on their limits', async (t) => {
  const exact = 'leaseMs = 2000\nheartbeatMs = 500\nackTimeoutMs = 2000\ngraceMs = 2500';
  t.same(problemsOf(text({ replication: exact })), []);
});

t.test('the API may listen on any loopback name', async (t) => {
  for (const host of ['localhost', '[::1]', '127.0.0.2']) {
    t.same(problemsOf(text({ tables: `[api]\nlisten = "${host}:9000"` })), [], host);
  }
});

t.test('the API may listen on a network with TLS and a token', async (t) => {
  const tables = `${tls}[api]\nlisten = "0.0.0.0:9617"\n${token('ops', 'operate')}`;
  t.same(problemsOf(text({ tables })), []);
  const { api } = parseConfig(text({ tables }));
  t.equal(api.unix, '/var/lib/casemate/api.sock');
  t.match(api.tokens, { ops: { role: 'operate' } });
});

t.test('a token is a role and a hash; one that was put there itself is not shown', async (t) => {
  const secret = sampleToken('ops');
  t.same(problemsOf(text({ tables: `[api.tokens.ops]\nrole = "admin"\nsha256 = "${secret}"` })), [
    'api.tokens.ops.role must be one of "read", "operate"; it is "admin"',
    'api.tokens.ops.sha256 must be the SHA-256 of a token, 64 hex digits, as `casemate token create` shows it; it is something else',
  ]);
  t.match(problemsOf(text({ tables: '[api.tokens]' })), [/^api\.tokens is missing; there must be/]);
});

t.test('text that is no TOML is refused with its place', async (t) => {
  t.match(problemsOf('cluster = lux'), [/^line 1, column \d+ is not TOML: /]);
});

t.test('the error has a stable code and names the file', async (t) => {
  const path = `${t.testdir({ 'site.toml': 'cluster = "lux"' })}/site.toml`;
  t.throws(() => loadConfig(path), { code: 'ERR_CONFIG', message: new RegExp(path) });
  t.throws(() => loadConfig(`${path}.missing`), { code: 'ERR_CONFIG', message: /can't be read/ });
});

t.test('the example configurations are valid and fit each other', async (t) => {
  const read = (site: string): Config => loadConfig(`${repository}/deploy/${site}.toml`);
  const [first, second] = [read('lux-1'), read('lux-2')];
  t.equal(first.cluster, second.cluster);
  t.equal(first.peer.site, second.site);
  t.equal(second.peer.site, first.site);
  t.equal(first.peer.address, second.replication.listen);
  t.equal(second.peer.address, first.replication.listen);
});

t.test('the reference lists every key once, with its default', async (t) => {
  const reference = configReference();
  t.match(reference, '| `site` | **required** |');
  t.match(reference, '| `log.sizeBytes` | `"1GiB"` |');
  t.match(reference, '| `nbd.unix` | `<dataDirectory>/nbd.sock` |');
  t.match(reference, '| `replication.onPeerLoss` | `"suspend"` |');
  const keys = reference.match(/^\| `[^`]+`/gm) ?? [];
  t.equal(new Set(keys).size, keys.length);
  t.notMatch(reference, '|  |', 'every key has a meaning');
});
