/** Loads modules with the mutation that the environment names; see `mutations.ts`. */
import type { LoadHook } from 'node:module';
import { mutations } from './mutations.ts';

const root = new URL('../../../', import.meta.url).href;
const chosen = mutations.find(({ name }) => name === process.env['CASEMATE_MUTATION']);
if (chosen === undefined) throw new Error('CASEMATE_MUTATION names no mutation');
const edits = chosen.edits;

export const load: LoadHook = async (url, context, nextLoad) => {
  const result = await nextLoad(url, context);
  const mine = edits.filter(({ file }) => url === root + file);
  if (mine.length === 0) return result;
  let source = String(result.source);
  for (const { file, find, replace } of mine) {
    if (source.split(find).length !== 2) throw new Error(`${file} has not once: ${find}`);
    source = source.replace(find, () => replace);
  }
  return { ...result, source };
};
