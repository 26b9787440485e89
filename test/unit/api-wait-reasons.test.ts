import { readFileSync } from 'node:fs';
import t from 'tap';
import { waitReasons } from '../../daemon/wait-reasons.ts';

/** Tests are run from the top of the repository. */
const events = readFileSync('replication/core/events.ts', 'utf8');

t.test('every reason to wait has its advice, and there is none for others', async (t) => {
  const declared = events.slice(
    events.indexOf('export type WaitReason'),
    events.indexOf('/** How far the peer'),
  );
  const codes = [...declared.matchAll(/code: '([a-z-]+)'/g)].map((match) => match[1]);
  t.ok(codes.length > 10, 'the codes are found in the declaration');
  t.same(Object.keys(waitReasons).sort(), [...codes, 'disk-full', 'log-full'].sort());
});

t.test('advice is said as the end of a sentence', async (t) => {
  for (const [code, { clears }] of Object.entries(waitReasons)) {
    t.match(clears, /^(by itself|when|never)\b/, code);
    t.notMatch(clears, /\.$/, code);
  }
});

t.test('a command that is called safe forces and deletes nothing', async (t) => {
  for (const [code, { command }] of Object.entries(waitReasons)) {
    t.notMatch(command ?? '', /--force|delete|promote|--yes|resize/, code);
  }
});
