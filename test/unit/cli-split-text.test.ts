import t from 'tap';
import { splitText } from '../../daemon/cli/split-text.ts';
import type { SplitSide } from '../../daemon/site-status.ts';
import { groupStatus } from './api-sample-site.ts';

const mebibyte = 1024 * 1024;

function side(site: string, parts: number, leftOutBytes = 0): SplitSide {
  const extents = Array.from({ length: parts }, (_, index) => ({
    offsetBytes: 10 * index * mebibyte,
    lengthBytes: mebibyte,
  }));
  const changedBytes = parts * mebibyte + leftOutBytes;
  const volumes = [{ name: 'vm', extents, leftOutBytes }];
  return { site, epoch: 4, end: 812, since: 700, changedBytes, volumes };
}

t.test('a group that is not split has nothing to say about it', async (t) => {
  t.equal(splitText({ ...groupStatus('vm'), split: undefined }), '');
});

t.test('both sides are shown, what is left out is counted, and the end is named', async (t) => {
  const here = side('lux-1', 2);
  const there = side('lux-2', 6, 3 * mebibyte);
  const text = splitText({ ...groupStatus('vm'), split: { here, there } });
  t.match(text, /lux-1: epoch 4, record 812; 2 MiB changed since record 700\n/);
  t.match(text, /vm: 1 MiB at 0 B, 1 MiB at 10 MiB\n/);
  t.match(text, /lux-2: .*; 9 MiB changed/);
  t.match(text, /1 MiB at 30 MiB, and 5 MiB more\n/);
  t.match(text, /casemate resolve vm --drop SITE\n$/);
});

t.test('a side that is not known is called so', async (t) => {
  const { since: _, ...here } = side('lux-1', 0);
  const text = splitText({ ...groupStatus('vm'), split: { here } });
  t.match(text, /what it has changed is not known/);
  t.match(text, /the other site has not said/);
});

t.test('the side that is given up is named while that lasts', async (t) => {
  const split = { here: side('lux-1', 1), there: side('lux-2', 1), givenUp: 'lux-1' };
  const text = splitText({ ...groupStatus('vm'), split });
  t.match(text, /lux-1 is given up and becomes a copy/);
  t.notMatch(text, /--drop/);
});
