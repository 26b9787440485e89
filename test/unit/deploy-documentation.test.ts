/** What the package says: completion and man page, made from the command's own help; documents. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { commands } from '../../daemon/cli/command-line.ts';
import { runOk } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

const folder = fileURLToPath(new URL('../../../deploy/package/', import.meta.url));
const writer = join(folder, 'documentation.mjs');

t.test('bash completes commands, their second words and their options', async (t) => {
  const script = await runOk(process.execPath, [writer, 'completion']);
  const complete = async (...words: string[]): Promise<string[]> => {
    const typed = words.map((word) => `'${word}'`).join(' ');
    const input = `${script}
COMP_WORDS=(casemate ${typed}); COMP_CWORD=${words.length}
_casemate
printf '%s\\n' "\${COMPREPLY[@]}"
`;
    return (await runOk('bash', ['--norc'], { input })).trim().split('\n');
  };
  t.same(await complete('sw'), ['switchover']);
  t.same((await complete('volume', '')).sort(), ['create', 'delete', 'list', 'resize', 'show']);
  t.ok((await complete('volume', 'create', '--')).includes('--size'));
  t.same(await complete('status', '--js'), ['--json']);
  for (const { name } of commands) {
    const words = name.split(' ');
    t.ok((await complete(...words)).includes(words.at(-1) ?? ''), name);
    t.ok((await complete(...words, '--h')).includes('--help'), `${name} --help`);
  }
});

t.test('the man page has every command with all of its help', async (t) => {
  const page = await runOk(process.execPath, [writer, 'man']);
  t.match(page, /^\.TH CASEMATE 1/);
  const readable = page.replaceAll('\\-', '-').replaceAll('\\&', '').replaceAll('\\e', '\\');
  for (const { name, help } of commands) {
    t.ok(readable.includes(`.SS casemate ${name}\n`), name);
    for (const line of help.split('\n').slice(1)) t.ok(readable.includes(line), line);
  }
  const bodies = page.split(/^\.(?:nf|fi|SS|SH|TH|TP|B|I)\b.*$/m).join('');
  t.notMatch(bodies, /^[.']/m, 'no line of text is taken for a request');
});

t.test('every link of a document leads to something that is in the package', async (t) => {
  const documents = scratchDirectory(t);
  await runOk(process.execPath, [join(folder, 'documents.mjs'), documents]);
  const pages = readdirSync(documents, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.md'),
  );
  t.ok(pages.length > 10);
  let links = 0;
  for (const page of pages) {
    const text = readFileSync(join(documents, page), 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      links += 1;
      t.ok(existsSync(join(documents, dirname(page), link)), `${page}: ${link}`);
    }
  }
  t.ok(links > 20);
});
