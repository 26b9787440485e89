/**
 * Prints the folders of all npm packages that the daemon needs at run time, one per line, from the
 * lock file: what is there for development or only to install something else is left out.
 */
import { existsSync, readFileSync } from 'node:fs';

/** Fetches binaries at installation; ours are compiled here. */
const installersOnly = ['prebuild-install'];

const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const needed = new Set();

/** Where Node.js finds a package that is asked for in a folder. */
function resolve(name, folder) {
  const own = `${folder}${folder === '' ? '' : '/'}node_modules/${name}`;
  if (packages[own] !== undefined) return own;
  if (folder === '') return undefined;
  const parent = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1));
  return resolve(name, parent);
}

function need(folder) {
  const { dependencies = {}, optionalDependencies = {} } = packages[folder];
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    if (installersOnly.includes(name)) continue;
    const found = resolve(name, folder);
    // Binaries for other machines are not installed here.
    if (found === undefined || needed.has(found) || !existsSync(found)) continue;
    needed.add(found);
    need(found);
  }
}

need('');
process.stdout.write(`${[...needed].sort().join('\n')}\n`);
