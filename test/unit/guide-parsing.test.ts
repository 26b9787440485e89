/** How a guide is read: its commands, where they are run, and what is to be seen. */
import t from 'tap';
import { commandsOf, isAsShown, parseGuide } from '../guides/guide.ts';

const fence = '```';
const block = (kind: string, text: string): string => `${fence}${kind}\n${text}\n${fence}\n`;

t.test('the blocks of a guide become steps', async (t) => {
  const first = block('sh', '# on lux-1 and lux-2 (exit code 0 or 5)\none \\\n  more\ntwo');
  const second = block('sh', "# on lux-1, until it shows\ncat >file <<'END'\na\nb\nEND");
  const shown = block('text', 'all is well');
  const other = block('sh', '# on lux-w (needs a cluster)\nthree');
  const guide = parseGuide('a.md', `**6 commands**\n${first}\n${second}\n${shown}\n${other}`);
  t.match(guide.steps, [
    { machines: ['lux-1', 'lux-2'], exitCodes: [0, 5], until: false, commandCount: 2 },
    { machines: ['lux-1'], exitCodes: [0], until: true, commandCount: 1, shown: 'all is well' },
    { machines: ['lux-w'], needs: 'a cluster', commandCount: 1 },
  ]);
  t.equal(guide.steps[0]?.shown, undefined);
  t.equal(commandsOf(guide), 6);
  t.equal(guide.statedCount, 6);
});

t.test('a block that does not say where it is run, or what it waits for, is refused', async (t) => {
  t.throws(() => parseGuide('a.md', block('sh', 'one')), /a\.md:2: "one" does not say where/);
  t.throws(() => parseGuide('a.md', block('sh', '# on lux-1, until it shows\none')), /a\.md:1/);
});

t.test('an output is as shown, or it is not', async (t) => {
  const output = 'site   lux-1 of lux, up for 3 s\n\nVOLUME  ROLE\nvm-1    primary\n';
  t.ok(isAsShown(output, 'site lux-1 of lux, …'), 'blanks may differ, the rest of a line may too');
  t.ok(isAsShown(output, 'site …\n…\nvm-1  primary'), 'lines may be left out where it says so');
  t.notOk(isAsShown(output, 'site …\nvm-1  primary'), 'but not elsewhere');
  t.notOk(isAsShown(output, 'vm-1'), 'a line is a whole line');
  t.notOk(isAsShown(output, 'vm-1  .*'), 'what is shown is no pattern');
});
