/**
 * The sources as the tidy tests see them: every TypeScript file of the repository with its lines,
 * its code without comments, and what it imports. Plain text, no compiler: a small scanner blanks
 * comments and string contents so that a rule about code does not fire on prose.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repositoryDirectory = fileURLToPath(new URL('../../..', import.meta.url));

/** The folders that hold sources, as in ARCHITECTURE.md. */
export const sourceFolders = ['daemon', 'replication', 'wal', 'metrics', 'test', 'bench'] as const;

export interface Import {
  readonly line: number;
  /** As written: a package, `node:…`, or a relative path. */
  readonly specifier: string;
  /** Erased by the compiler: names types and can call nothing. */
  readonly typeOnly: boolean;
  /** The repository path of a file of ours, else undefined. */
  readonly target: string | undefined;
}

export interface Source {
  /** Relative to the repository, with slashes. */
  readonly path: string;
  readonly text: string;
  /** Comments blanked, strings kept; as long as the text. */
  readonly uncommented: string;
  /** Comments and the contents of strings blanked; as long as the text. */
  readonly code: string;
  readonly imports: readonly Import[];
}

export interface Violation {
  readonly path: string;
  readonly line: number;
  /** What is wrong and what to do. */
  readonly problem: string;
}

/** Reads all TypeScript files, sorted by path. */
export function readSources(): Source[] {
  return sourceFolders.filter(folderExists).flatMap((folder) =>
    readdirSync(join(repositoryDirectory, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !name.includes('node_modules'))
      .sort()
      .map((name) => toSource(`${folder}/${name}`, readRepositoryFile(`${folder}/${name}`))),
  );
}

function folderExists(folder: string): boolean {
  return existsSync(join(repositoryDirectory, folder));
}

/** Reads a file by its path in the repository. */
export function readRepositoryFile(path: string): string {
  return readFileSync(join(repositoryDirectory, path), 'utf8');
}

/** Makes a source of a text; `path` decides what relative imports mean. */
export function toSource(path: string, text: string): Source {
  const { uncommented, code } = blank(text);
  return { path, text, uncommented, code, imports: importsOf(path, uncommented, code) };
}

/** The line, from 1, of a place in a text. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

/** Every match of a pattern (with the g flag) in a source's code, as violations. */
export function violationsOf(
  source: Source,
  pattern: RegExp,
  problem: (match: RegExpExecArray) => string,
  where: 'code' | 'uncommented' | 'text' = 'code',
): Violation[] {
  const violations: Violation[] = [];
  for (const match of source[where].matchAll(pattern)) {
    const line = lineAt(source.text, match.index);
    violations.push({ path: source.path, line, problem: problem(match) });
  }
  return violations;
}

/** One line per violation, as an editor can jump to it. */
export function describe(violations: readonly Violation[]): string[] {
  return violations.map(({ path, line, problem }) => `${path}:${line}: ${problem}`);
}

const importPattern =
  /\b(?:import|export)\b[^'"`;]*?\bfrom\s*'([^']+)'|\bimport\s*\(?\s*'([^']+)'|\bnew URL\('(\.[^']+)', import\.meta\.url\)/g;

function importsOf(path: string, uncommented: string, code: string): Import[] {
  const imports: Import[] = [];
  for (const match of uncommented.matchAll(importPattern)) {
    // Blanked in the code: the import stands inside a string.
    if (code[match.index] === ' ') continue;
    const specifier = match[1] ?? match[2] ?? match[3] ?? '';
    const target = /^\..*\.[jt]s$/.test(specifier)
      ? normalize(join(dirname(path), specifier)).replace(/\.js$/, '.ts')
      : undefined;
    const typeOnly = /^(?:import|export)\s+type\b/.test(match[0]);
    imports.push({ line: lineAt(uncommented, match.index), specifier, typeOnly, target });
  }
  return imports;
}

/** One piece of source text: a comment, a string, a regular expression, or a stretch of code. */
const piecePattern =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`|[{}]|\/(?![/*])/g;
const regularExpression = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
const templateText = /(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/y;

function blank(text: string): { uncommented: string; code: string } {
  const blanks: { start: number; end: number; comment: boolean }[] = [];
  /** Braces open inside each `${` that is open, innermost last. */
  const templates: number[] = [];
  const readTemplate = (start: number): number => {
    templateText.lastIndex = start;
    templateText.test(text);
    const end = templateText.lastIndex;
    blanks.push({ start, end, comment: false });
    if (text[end] === '`') return end + 1;
    templates.push(0);
    return end + 2;
  };
  const pieces = new RegExp(piecePattern);
  for (let match = pieces.exec(text); match !== null; match = pieces.exec(text)) {
    const piece = match[0];
    const start = match.index;
    const end = start + piece.length;
    const open = templates.at(-1);
    if (piece === '`') pieces.lastIndex = readTemplate(end);
    else if (piece === '{' && open !== undefined) templates[templates.length - 1] = open + 1;
    else if (piece === '}' && open !== undefined) {
      if (open > 0) templates[templates.length - 1] = open - 1;
      else {
        templates.pop();
        pieces.lastIndex = readTemplate(end);
      }
    } else if (piece === '/') {
      if (!startsRegularExpression(text.slice(0, start))) continue;
      regularExpression.lastIndex = start;
      if (!regularExpression.test(text)) continue;
      pieces.lastIndex = regularExpression.lastIndex;
      blanks.push({ start: start + 1, end: pieces.lastIndex - 1, comment: false });
    } else if (piece.length > 1 && piece.startsWith('/'))
      blanks.push({ start, end, comment: true });
    else if (piece.length > 1) blanks.push({ start: start + 1, end: end - 1, comment: false });
  }
  return {
    uncommented: blankOut(
      text,
      blanks.filter((range) => range.comment),
    ),
    code: blankOut(text, blanks),
  };
}

/** A slash begins a regular expression where a value may begin. */
function startsRegularExpression(before: string): boolean {
  return /(?:[(,=:[!&|?{};+>]|\b(?:return|typeof|case|of|in)|^)\s*$/.test(before.slice(-200));
}

function blankOut(text: string, ranges: readonly { start: number; end: number }[]): string {
  let result = '';
  let from = 0;
  for (const { start, end } of ranges) {
    result += text.slice(from, start) + text.slice(start, end).replace(/[^\n]/g, ' ');
    from = end;
  }
  return result + text.slice(from);
}
