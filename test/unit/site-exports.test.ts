/** The exports of a site, and whose clients are disconnected when they change. */
import t from 'tap';
import { SiteExports } from '../../daemon/site-exports.ts';
import { MemoryDevice } from '../support/memory-device.ts';

function exported(name: string, isGoing = false) {
  return { volume: new MemoryDevice({ name, sizeBytes: 4096 }), isGoing: () => isGoing };
}

t.test('clients stay as long as their volume does, whatever its name', (t) => {
  const gone: string[] = [];
  const exports = new SiteExports((name) => gone.push(name));
  const [stays, goes, replaced] = ['stays', 'goes', 'replaced'].map((name) => exported(name));
  if (stays === undefined || goes === undefined || replaced === undefined) throw new Error();
  exports.refresh([stays, goes, replaced]);
  t.same(gone, []);
  const other = exported('replaced');
  exports.refresh([{ ...stays }, other]);
  t.same(gone, ['goes', 'replaced'], 'also those of one that gave its name to another');
  t.equal(exports.find('stays'), stays.volume);
  t.equal(exports.find('replaced'), other.volume);
  t.equal(exports.find('goes'), undefined);
  t.same(exports.list(), [stays.volume, other.volume]);
  t.end();
});

t.test('without a name the only volume is found, unless it is going', (t) => {
  const exports = new SiteExports(() => undefined);
  const only = exported('only');
  exports.refresh([only]);
  t.equal(exports.find(''), only.volume);
  exports.refresh([only, exported('another')]);
  t.equal(exports.find(''), undefined);
  exports.refresh([exported('only', true)]);
  t.equal(exports.find(''), undefined);
  t.equal(exports.find('only'), undefined);
  t.end();
});
