/** Who may import whom: folders, cycles, packages, and files that nobody imports. */
import t from 'tap';
import { describe, readSources, type Source, toSource, type Violation } from './sources.ts';

/** What each folder may import of ours. */
const allowedFolders: Record<string, readonly string[]> = {
  wal: ['wal'],
  replication: ['replication', 'wal'],
  metrics: ['metrics'],
  daemon: ['daemon', 'replication', 'wal', 'metrics'],
  test: ['daemon', 'replication', 'wal', 'metrics', 'test', 'bench'],
  bench: ['daemon', 'replication', 'wal', 'metrics', 'test', 'bench'],
};

/** The folder through which each run-time package enters, by one file in it. */
const packageHomes: Record<string, string> = {
  '@fastify/swagger': 'daemon/api/',
  '@node-rs/crc32': 'wal/',
  '@peculiar/x509': 'daemon/pki/',
  'better-sqlite3': 'daemon/store/',
  fastify: 'daemon/api/',
  koffi: 'wal/',
  msgpackr: 'replication/link/',
  pino: 'daemon/',
  'prom-client': 'metrics/',
  'smol-toml': 'daemon/config/',
};

/** A vocabulary for schemas rather than a service: whoever checks outside data uses it. */
const packagesForAll = ['@sinclair/typebox'];

/** Programs, which nobody imports. Test files are programs too. */
const entryPoints = [
  'daemon/cli/casemate.cts',
  'daemon/cli/main.ts',
  'bench/main.ts',
  'test/run-tests.ts',
  'test/simulation/sites/simulate.ts',
  'test/simulation/sites/mutate.ts',
  'test/simulation/sites/mutation-hooks.ts',
];

const folderOf = (path: string): string => path.slice(0, path.indexOf('/'));

function wrongFolders(sources: readonly Source[]): Violation[] {
  return sources.flatMap(({ path, imports }) =>
    imports.flatMap(({ line, target }) => {
      if (target === undefined || allowedFolders[folderOf(path)]?.includes(folderOf(target))) {
        return [];
      }
      const problem = `${folderOf(path)}/ must not import ${target}: pass it in from daemon/`;
      return [{ path, line, problem }];
    }),
  );
}

/** Each cycle once, at the import that closes it. */
function cycles(sources: readonly Source[]): Violation[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const finished = new Set<string>();
  const trail: string[] = [];
  const found: Violation[] = [];
  const visit = (source: Source): void => {
    trail.push(source.path);
    for (const { line, target } of source.imports) {
      const next = target === undefined ? undefined : byPath.get(target);
      if (next === undefined || finished.has(next.path)) continue;
      const start = trail.indexOf(next.path);
      if (start === -1) visit(next);
      else if (next !== source) {
        const cycle = [...trail.slice(start), next.path].join(' → ');
        const problem = `import cycle ${cycle}: move what both need into a file of its own`;
        found.push({ path: source.path, line, problem });
      }
    }
    trail.pop();
    finished.add(source.path);
  };
  for (const source of sources) if (!finished.has(source.path)) visit(source);
  return found;
}

function packageOf(specifier: string): string | undefined {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return undefined;
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function strayPackages(sources: readonly Source[]): Violation[] {
  const entries = new Map<string, string>();
  return sources
    .filter(({ path }) => !/^(?:test|bench)\//.test(path))
    .flatMap(({ path, imports }) =>
      imports.flatMap(({ line, specifier }) => {
        const name = packageOf(specifier);
        if (name === undefined || packagesForAll.includes(name)) return [];
        const home = packageHomes[name];
        if (home === undefined) {
          const problem = `${name} is no package we chose: do without, or name its home in this test`;
          return [{ path, line, problem }];
        }
        const entry = entries.get(name) ?? path;
        entries.set(name, entry);
        if (path.startsWith(home) && path === entry) return [];
        const place = path === entry ? home : entry;
        return [{ path, line, problem: `${name} enters through one file, in ${place}: use that` }];
      }),
    );
}

function neverImported(sources: readonly Source[]): Violation[] {
  const imported = new Set(sources.flatMap(({ imports }) => imports.map(({ target }) => target)));
  return sources
    .filter(({ path }) => !path.endsWith('.test.ts') && !entryPoints.includes(path))
    .filter(({ path }) => !imported.has(path))
    .map(({ path }) => ({
      path,
      line: 1,
      problem: 'nobody imports this file: use it or remove it',
    }));
}

const sources = readSources();

t.test('the rules see what they are meant to see', async (t) => {
  const sample = [
    toSource('wal/a.ts', "// import './no.ts'\nimport { b } from './b.ts';\n"),
    toSource('wal/b.ts', "import type {\n  A,\n} from './a.ts';\nimport '../daemon/c.ts';\n"),
    toSource('daemon/c.ts', "import pino from 'pino';\nimport left from 'left-pad';\n"),
    toSource('daemon/d.ts', "import { x } from 'pino';\nimport('./gone.ts');\n"),
  ];
  t.same(describe(wrongFolders(sample)), [
    'wal/b.ts:4: wal/ must not import daemon/c.ts: pass it in from daemon/',
  ]);
  t.equal(cycles(sample).length, 1);
  t.equal(strayPackages(sample).length, 2);
  t.same(
    neverImported(sample).map(({ path }) => path),
    ['daemon/d.ts'],
  );
});

t.test('imports go one way: daemon to replication to wal; only daemon uses metrics', async (t) => {
  t.same(describe(wrongFolders(sources)), []);
});

t.test('there is no import cycle', async (t) => {
  t.same(describe(cycles(sources)), []);
});

t.test('each package enters through one file', async (t) => {
  t.same(describe(strayPackages(sources)), []);
});

t.test('every file is used', async (t) => {
  t.same(describe(neverImported(sources)), []);
});
