/**
 * Writes the documents and examples of the package into a folder, with links that lead to where
 * they are there. A link to what is not in the package is an error.
 *
 * node deploy/package/documents.mjs FOLDER
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../..', import.meta.url));

const filesOf = (folder, ending) =>
  readdirSync(join(repository, folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

/** Where each file of the repository is in the package. */
const places = new Map([
  ...['README.md', 'ARCHITECTURE.md', 'SECURITY.md'].map((path) => [path, path]),
  ['bench/README.md', 'benchmarks.md'],
  ...filesOf('deploy/guides', '.md').map((path) => [path, `guides/${posix.basename(path)}`]),
  ...[
    ...filesOf('deploy', '.toml'),
    'deploy/prometheus/casemate.rules.yml',
    'deploy/prometheus/prometheus.yml',
    'deploy/grafana/casemate.json',
  ].map((path) => [path, `examples/${posix.basename(path)}`]),
]);

function packagedLink(path, link) {
  const [target, ...anchor] = link.split('#');
  const place = places.get(posix.join(posix.dirname(path), target));
  if (place === undefined) throw new Error(`${path}: ${link} is not in the package`);
  const relative = posix.relative(posix.dirname(places.get(path)), place);
  return [relative, ...anchor].join('#');
}

function withLinks(path, text) {
  return text.replaceAll(
    /\]\((?!https?:|#)([^)\s]+)\)/g,
    (_, link) => `](${packagedLink(path, link)})`,
  );
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('Usage: documents.mjs FOLDER');
for (const [path, place] of places) {
  const text = readFileSync(join(repository, path), 'utf8');
  const target = join(folder, place);
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, path.endsWith('.md') ? withLinks(path, text) : text);
}
