/** Rules of style that neither the compiler nor the linter knows. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  describe,
  lineAt,
  readSources,
  repositoryDirectory,
  type Source,
  toSource,
  type Violation,
  violationsOf,
} from './sources.ts';

const linesMax = 500;
const linesWanted = 400;
const columnsMax = 100;

/**
 * Where clocks, timers, randomness, files and sockets may be touched: the ports, programs, and the
 * NBD server, which is tested through real sockets only.
 */
const systemFiles =
  /^(?:daemon\/system-[^/]*\.ts|wal\/system-disk\.ts|daemon\/cli\/|daemon\/process-life\.ts|daemon\/nbd\/|test\/|bench\/)/;

/** Read before anything runs, or beside SQLite, which does its own input and output. */
const fileReaders = /^daemon\/(?:config\/parse\.ts|version\.ts|store\/)/;

/** `any` and `!` are the linter's rules too; here they cannot be suppressed. */
const everywhere: readonly { pattern: RegExp; problem: string; where?: 'text' }[] = [
  { pattern: /[:<|,]\s*any\b|\bas any\b/g, problem: 'no any: name the type, or use unknown' },
  { pattern: /[\w)\]]!(?=[.;,)\]\s[])(?!\s*=)/g, problem: 'no !: check for undefined' },
  { pattern: /\.only\(/g, problem: 'no .only: all tests run' },
  { pattern: /\b(?:TODO|FIXME|XXX|HACK)\b/g, problem: 'finish it or leave it out', where: 'text' },
  { pattern: /^\s*export default\b/gm, problem: 'no default export: give it a name' },
  { pattern: /@ts-(?:ignore|expect-error|nocheck)\b/g, problem: 'fix the type', where: 'text' },
];

const bannedCalls: readonly { pattern: RegExp; instead: string }[] = [
  { pattern: /\bDate\.now\(|\bnew Date\(\)/g, instead: 'take the time from the clock port' },
  { pattern: /\bperformance\.now\(/g, instead: 'take the time from the clock port' },
  { pattern: /\bprocess\.hrtime\b/g, instead: 'take the time from the clock port' },
  { pattern: /\bMath\.random\(/g, instead: 'take it from the random port' },
  { pattern: /\bset(?:Timeout|Interval)\(/g, instead: 'use the timers port' },
  { pattern: /\bprocess\.exit\(/g, instead: 'return or throw; the program decides' },
];
const bannedImports = /^node:(?:fs|fs\/promises|net|tls|http|https|dgram|timers|timers\/promises)$/;

/** The folders of the design; each must be there. */
const folders = [
  'daemon/cli daemon/config daemon/nbd daemon/api daemon/volume daemon/store',
  'replication/core replication/link replication/register',
  'wal metrics test/unit test/simulation test/clients test/faults bench deploy',
].flatMap((line) => line.split(' '));

function tooLong(source: Source): Violation[] {
  const { path, text } = source;
  const lines = text.split('\n');
  const violations: Violation[] = [];
  const count = text.endsWith('\n') ? lines.length - 1 : lines.length;
  if (count > linesMax) {
    violations.push({
      path,
      line: linesMax,
      problem: `${count} lines, at most ${linesMax}: split it`,
    });
  }
  const codeLines = source.uncommented.split('\n');
  lines.forEach((line, index) => {
    // The formatter leaves a long string or pattern whole; so do we.
    const unbreakable = /['"`]|\/.{30,}\/[a-z]*/.test(codeLines[index] ?? '');
    if (line.length <= columnsMax || unbreakable || /https?:\/\/\S{60}/.test(line)) return;
    violations.push({
      path,
      line: index + 1,
      problem: `more than ${columnsMax} columns: break it`,
    });
  });
  return violations;
}

function strayCalls(source: Source): Violation[] {
  if (systemFiles.test(source.path)) return [];
  const calls = bannedCalls.flatMap(({ pattern, instead }) =>
    violationsOf(source, pattern, ([call]) => `${call} outside the system files: ${instead}`),
  );
  const imports = source.imports
    .filter(({ specifier, typeOnly }) => bannedImports.test(specifier) && !typeOnly)
    .filter(({ specifier }) => specifier !== 'node:fs' || !fileReaders.test(source.path))
    .map(({ line, specifier }) => ({
      path: source.path,
      line,
      problem: `${specifier} outside the system files: go through the port`,
    }));
  return [...calls, ...imports];
}

function banned(source: Source): Violation[] {
  return everywhere.flatMap(({ pattern, problem, where }) =>
    violationsOf(source, pattern, () => problem, where),
  );
}

/** The part of the program that a file belongs to, as in `wal` or `replication/link`. */
function partOf(path: string): string {
  return /^(?:replication\/[^/]+|[^/]+)/.exec(path)?.[0] ?? path;
}

/** An error code belongs to one part of the program: it is never made in two. */
function sharedCodes(sources: readonly Source[]): Violation[] {
  const homes = new Map<string, string>();
  const made = /\bcode\s*[:=]\s*'(ERR_\w+)'|\bnew \w+\(\s*'(ERR_\w+)'/g;
  return sources
    .filter(({ path }) => !/^(?:test|bench)\//.test(path))
    .flatMap((source) =>
      [...source.uncommented.matchAll(made)].flatMap((match) => {
        const code = match[1] ?? match[2] ?? '';
        const home = homes.get(code) ?? source.path;
        homes.set(code, home);
        if (partOf(home) === partOf(source.path)) return [];
        const problem = `${code} is made in ${home} too: give it its own code`;
        return [{ path: source.path, line: lineAt(source.text, match.index), problem }];
      }),
    );
}

const sources = readSources();
/** The rules' own file must spell out what it forbids. */
const otherSources = sources.filter(({ path }) => path !== 'test/tidy/tidy.test.ts');

t.test('the rules see what they are meant to see', async (t) => {
  const bad = toSource(
    'daemon/bad.ts',
    [
      "import { readFileSync } from 'node:fs';",
      '// any, Date.now() and process.exit() in prose are fine',
      'const a: any = Date.now();',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a template inside the sample.
      'const b = `${list[0]!.name} Math.random()`;',
      "const c = 'Math.random() ' + /setTimeout\\(/.source;",
      'if (!a && b != c) setTimeout(c, 1);',
    ].join('\n'),
  );
  t.same(
    [...banned(bad), ...strayCalls(bad)].map(({ line }) => line),
    [3, 4, 3, 6, 1],
  );
  t.same(tooLong(toSource('wal/long.ts', 'x\n'.repeat(linesMax + 1))).length, 1);
  t.same(tooLong(toSource('wal/wide.ts', 'x'.repeat(columnsMax + 1))).length, 1);
  const codes = ["new E('ERR_A', '')", "throw new E(\n  'ERR_A')"];
  t.equal(
    sharedCodes(codes.map((text, index) => toSource(`${['wal', 'daemon'][index]}/a.ts`, text)))
      .length,
    1,
  );
});

t.test(`no file is longer than ${linesMax} lines, no line wider than ${columnsMax}`, async (t) => {
  const long = sources.filter(({ text }) => text.split('\n').length - 1 > linesWanted);
  for (const { path } of long) t.comment(`${path} is longer than ${linesWanted} lines`);
  t.same(describe(sources.flatMap(tooLong)), []);
});

t.test('nothing is unfinished, untyped or exported without a name', async (t) => {
  t.same(describe(otherSources.flatMap(banned)), []);
});

t.test('time, chance, files and sockets come through the ports', async (t) => {
  t.same(describe(sources.flatMap(strayCalls)), []);
});

t.test('each error code is made in one part of the program', async (t) => {
  t.same(describe(sharedCodes(sources)), []);
});

t.test('every folder of the design exists', async (t) => {
  t.same(
    folders.filter((folder) => !existsSync(join(repositoryDirectory, folder))),
    [],
  );
});
