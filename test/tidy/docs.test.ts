/** The documents name what the code has: paths, error codes, metrics, configuration keys. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { configReference } from '../../daemon/config/reference.ts';
import { witnessConfigSchema } from '../../daemon/witness/witness-config.ts';
import { declarations } from '../../metrics/declarations.ts';
import { witnessDeclarations } from '../../metrics/witness-declarations.ts';
import { describe, readRepositoryFile, readSources, repositoryDirectory } from './sources.ts';

const documents = [
  'README.md',
  'ARCHITECTURE.md',
  ...readdirSync(join(repositoryDirectory, 'deploy/guides')).map((name) => `deploy/guides/${name}`),
];

/** A name in backticks that can only be a path of this repository. */
const pathPattern =
  /^(?:(?:daemon|replication|wal|metrics|test|bench|deploy|docs|\.ci)\/[\w./*-]*|[\w-]+\.(?:md|ts|json))$/;

interface NamedPath {
  readonly document: string;
  readonly line: number;
  readonly path: string;
}

function namedPaths(document: string): NamedPath[] {
  return readRepositoryFile(document)
    .split('\n')
    .flatMap((text, index) =>
      [...text.matchAll(/`([^`]+)`/g)]
        .map(([, path = '']) => path.replace(/^\.\//, ''))
        .filter((path) => pathPattern.test(path))
        .map((path) => ({ document, line: index + 1, path })),
    );
}

/** A star stands for any part of a name in the last folder. A bare source name may be anywhere. */
function exists(path: string): boolean {
  if (/^[\w-]+\.ts$/.test(path)) return readSources().some((it) => it.path.endsWith(`/${path}`));
  if (!path.includes('*')) return existsSync(join(repositoryDirectory, path));
  const folder = path.slice(0, path.lastIndexOf('/') + 1);
  const parts = path.slice(folder.length).split('*');
  const start = parts[0] ?? '';
  const end = parts.at(-1) ?? '';
  if (!existsSync(join(repositoryDirectory, folder))) return false;
  return readdirSync(join(repositoryDirectory, folder)).some(
    (name) => name.startsWith(start) && name.endsWith(end),
  );
}

/** All names of a pattern in the code, each with the place where it is first. */
function namesInCode(pattern: RegExp, folders: RegExp): Map<string, string> {
  const names = new Map<string, string>();
  for (const { path, uncommented } of readSources()) {
    if (!folders.test(path)) continue;
    for (const [, name = ''] of uncommented.matchAll(pattern)) {
      if (!names.has(name)) names.set(name, path);
    }
  }
  return names;
}

/** The README and the pages under docs/, if there are any. */
function referenceText(): string {
  const folder = join(repositoryDirectory, 'docs');
  const pages = existsSync(folder) ? readdirSync(folder).filter((it) => it.endsWith('.md')) : [];
  return ['README.md', ...pages.map((page) => `docs/${page}`)].map(readRepositoryFile).join('\n');
}

function undocumented(names: ReadonlyMap<string, string>, text: string): string[] {
  const documented = new Set(text.match(/[A-Za-z]\w*/g));
  return describe(
    [...names]
      .filter(([name]) => !documented.has(name))
      .map(([name, path]) => ({ path, line: 1, problem: `${name} is not in README.md: add it` })),
  );
}

t.test('every path that a document names exists', async (t) => {
  for (const document of documents) {
    t.ok(existsSync(join(repositoryDirectory, document)), `${document} exists`);
  }
  const missing = documents
    .filter((document) => existsSync(join(repositoryDirectory, document)))
    .flatMap(namedPaths)
    .filter(({ path }) => !exists(path))
    .map(({ document, line, path }) => ({ path: document, line, problem: `there is no ${path}` }));
  t.same(describe(missing), []);
});

t.test('every error code of the code is in the README', async (t) => {
  const codes = namesInCode(/'(ERR_\w+)'/g, /^(?:daemon|replication|wal)\//);
  // Codes of Node itself are not ours to explain.
  for (const code of codes.keys()) {
    if (/^ERR_(?:STREAM|SOCKET|SSL|TLS|HTTP|SERVER|INVALID)_/.test(code)) codes.delete(code);
  }
  t.ok(codes.size > 0, 'the code has error codes');
  t.same(undocumented(codes, referenceText()), []);
});

t.test('every metric is in the README', async (t) => {
  const metrics = new Map([
    ...declarations.map(({ name }) => [name, 'metrics/declarations.ts'] as const),
    ...witnessDeclarations.map(({ name }) => [name, 'metrics/witness-declarations.ts'] as const),
  ]);
  t.ok(metrics.size > 0, 'the code has metrics');
  t.same(undocumented(metrics, referenceText()), []);
});

t.test('the README has the configuration reference as the schema gives it', async (t) => {
  const readme = new Set(referenceText().split('\n'));
  const missing = [configReference(), configReference(witnessConfigSchema)]
    .flatMap((table) => table.split('\n'))
    .filter((row) => !readme.has(row));
  t.same(missing, [], 'these rows are missing or differ');
});

t.test('ARCHITECTURE.md explains each rule of the protocol, and the code names each', async (t) => {
  const inCode = new Set<string>();
  for (const { path, text } of readSources()) {
    if (!/^(?:wal|replication|daemon)\//.test(path)) continue;
    for (const [, first = '', last] of text.matchAll(/\bR(\d+)(?:-R(\d+))?\b/g)) {
      for (let rule = Number(first); rule <= Number(last ?? first); rule += 1) {
        inCode.add(`R${rule}`);
      }
    }
  }
  const table = readRepositoryFile('ARCHITECTURE.md').matchAll(/^\| (R\d+) \|/gm);
  const explained = [...table].map(([, rule = '']) => rule);
  t.ok(explained.length > 30, 'the table was found');
  t.same(
    [...inCode].filter((rule) => !explained.includes(rule)),
    [],
    'rules without explanation',
  );
  t.same(
    explained.filter((rule) => !inCode.has(rule)),
    [],
    'rules that no code names',
  );
});
