import t, { type Test } from 'tap';
import { commands, runCommandLine } from '../../daemon/cli/command-line.ts';
import { errorText } from '../../daemon/cli/errors.ts';
import type { Terminal } from '../../daemon/cli/terminal.ts';
import { CasemateError } from '../../daemon/errors.ts';
import { LinkStartError } from '../../replication/link/errors.ts';
import { LogError } from '../../wal/errors.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { sampleServer } from './api-sample-server.ts';
import { groupStatus, SampleSite, suspendedGroup } from './api-sample-site.ts';

interface Typed {
  /** What a person types when asked; without it there is no terminal. */
  readonly answer?: string;
  readonly environment?: Record<string, string>;
}

async function run(args: readonly string[], { answer, environment = {} }: Typed = {}) {
  let out = '';
  let err = '';
  const asked: string[] = [];
  const terminal: Terminal = {
    write: (text) => {
      out += text;
    },
    writeError: (text) => {
      err += text;
    },
    interactive: answer !== undefined,
    environment,
    ask: async (question) => {
      asked.push(question);
      return answer ?? '';
    },
  };
  return { code: await runCommandLine(args, terminal), out, err, asked };
}

/** A daemon's API on a port of its own, over a site that the test sets. */
async function setUp(t: Test, groups = [groupStatus('vm')]) {
  const site = new SampleSite(groups);
  const server = await sampleServer(t, { site, directory: scratchDirectory(t) });
  const { url, listeners } = server;
  const casemate = async (args: string, typed: Typed = {}) =>
    await run([...args.split(' '), '--api', url], typed);
  return { listeners, site, url, casemate };
}

t.test('help lists every command, and every command has help with an example', async (t) => {
  const { code, out } = await run(['--help']);
  t.equal(code, 0);
  for (const command of commands) {
    t.match(out, `  ${command.name} `);
    const help = await run([...command.name.split(' '), '--help']);
    t.equal(help.code, 0);
    t.match(help.out, new RegExp(`^Usage: casemate ${command.name}`));
    t.match(help.out, /\nExamples?:\n {2}casemate /);
  }
  t.match(out, /Exit codes:\n {2}0 .*\n {2}1 .*\n {2}2 .*\n {2}3 .*\n {2}4 /);
  t.match(await run(['volume', '--help']), { code: 0, out: /volume create .*\n.*volume list/ });
  t.match(await run(['--version']), { code: 0, out: /^casemate \d+\.\d+\.\d+\n$/ });
});

const wrong: readonly [args: string, message: RegExp][] = [
  ['stauts', /no command "stauts" \(ERR_USAGE\)\nhint: Did you mean `casemate status`\?/],
  ['volume crate', /no command "volume crate".*\n.*`casemate volume create`/],
  ['status --jsno', /no option --jsno.*\n.*--json/],
  ['status --json --watch', /--json and --watch are both there/],
  ['status now', /"now" is one argument too many/],
  ['switchover', /VOLUME is missing/],
  ['volume create vm', /--size is missing/],
  ['volume create vm --size 10GB', /--size is "10GB" .*\n.*binary unit/],
  ['volume create vm --size 1000', /--size is 1000 bytes .*\n.*multiple of 512/],
  ['volume create vm --size 1GiB --on-peer-loss x', /--on-peer-loss is "x"/],
  ['events --limit 0', /--limit is "0"/],
  ['run', /--config FILE is missing/],
  ['promote vm', /--force .*\n.*`casemate switchover vm` is the safe way/],
  ['status --api', /--api/],
  ['status --api nonsense', /"nonsense" is no URL/],
];

for (const [args, message] of wrong) {
  t.test(`a wrong command line is exit code 2 and says what is right: ${args}`, async (t) => {
    const { code, out, err } = await run(args.split(' '));
    t.equal(code, 2);
    t.match(err, /^casemate: /);
    t.match(err, message);
    t.equal(out, '');
  });
}

t.test('nothing typed shows the help and is exit code 2', async (t) => {
  t.match(await run([]), { code: 2, out: /^Usage: casemate COMMAND/ });
});

t.test('a daemon that does not answer is exit code 3', async (t) => {
  const { listeners, url } = await setUp(t);
  await listeners.close();
  const { code, err } = await run(['status', '--api', url]);
  t.equal(code, 3);
  t.match(err, `casemate: no daemon answers at ${url}: `);
  t.match(err, /ECONNREFUSED.* \(ERR_UNREACHABLE\)\nhint: /);
});

t.test('the daemon is found by option, configuration or environment', async (t) => {
  const { url } = await setUp(t);
  const environment = { CASEMATE_API: url };
  t.match(await run(['volume', 'list'], { environment }), { code: 0, out: /vm/ });
  const directory = t.testdir({
    'site.toml': [
      'cluster = "lux"\nsite = "lux-1"\ndataDirectory = "/var/lib/casemate"',
      '[peer]\nsite = "lux-2"\naddress = "lux-2:9618"',
      '[replication]\nlisten = "127.0.0.1:9618"',
      `[api]\nlisten = "${url.slice('http://'.length)}"`,
    ].join('\n'),
  });
  t.match(await run(['why', '--config', `${directory}/site.toml`]), { code: 0, out: /served by/ });
});

t.test('what answers but is no daemon of this version is told apart', async (t) => {
  const { casemate, site } = await setUp(t);
  site.groups = [{ ...groupStatus('vm'), epoch: -1 }];
  const { code, err } = await casemate('status');
  t.equal(code, 1);
  t.match(err, /not a Casemate daemon of this version: \/groups\/0\/epoch .*\(ERR_API_ANSWER\)/);
});

t.test('the status of a site that is well is short', async (t) => {
  const { casemate } = await setUp(t);
  const { code, out, err } = await casemate('status');
  t.equal(code, 0);
  t.equal(err, '');
  t.equal(
    out,
    [
      'site      lux-1 of lux, version 0.1.0, up for 1 h',
      'peer      lux-2 at lux-2.example.org:9618: connected for 1 min 40 s, round trip 0.4 ms',
      'register  the sites decide',
      'log       100 MiB of 1 GiB in use (10 %)',
      '',
      'VOLUME  ROLE     STATE   IN SYNC    SIZE  USED HERE  CLIENTS',
      'vm      primary  serves  yes      10 GiB      3 GiB        1',
      '',
    ].join('\n'),
  );
});

t.test('the status of a suspended volume says why and is exit code 4', async (t) => {
  const { casemate, site } = await setUp(t, [groupStatus('db'), suspendedGroup('vm')]);
  site.peerConnected = false;
  const text = 'the other site, lux-2, is not connected';
  site.problems = [{ code: 'peer-disconnected', text }];
  const { code, out } = await casemate('status');
  t.equal(code, 4);
  t.match(out, 'NOT CONNECTED for 1 min 40 s: connection refused');
  t.match(out, 'peer-lost');
  t.match(out, 'vm: suspended for 4.1 s (3 requests wait): peer lux-2 unreachable; I/O resumes by');
  t.match(out, '\n  safe to run: casemate volume show vm\n');
  t.match(out, /\nproblem: the other site, lux-2, is not connected.*\n {2}to do: Look whether/);
  t.notMatch(out, 'db: ', 'what is well takes one line');
});

t.test('on a terminal what is not well is in colour, unless NO_COLOR says otherwise', async (t) => {
  const alone = groupStatus('log', {
    inSync: false,
    peer: { state: 'disconnected', text: 'no session with lux-2', remainingRecords: 0 },
  });
  const groups = [groupStatus('db'), alone, suspendedGroup('vm')];
  const { casemate, site } = await setUp(t, groups);
  site.peerConnected = false;
  const plain = (await casemate('status')).out;
  t.notMatch(plain, '\u001b', 'no terminal, no colour');
  const { out } = await casemate('status', { answer: '' });
  const [red, yellow, end] = ['\u001b[1;31m', '\u001b[33m', '\u001b[0m'];
  const words = [red, yellow, end].reduce((text, code) => text.replaceAll(code, ''), out);
  t.equal(words, plain, 'the words are the same');
  const linesIn = (colour: string): string[] =>
    out.split('\n').flatMap((line) => {
      return line.startsWith(colour) ? [line.slice(colour.length, -end.length)] : [];
    });
  const severe = [/^peer .*NOT CONNECTED/, /^vm +primary +peer-lost /, /^vm: suspended for/];
  t.match(linesIn(red), severe);
  t.match(linesIn(yellow), [/^log +primary +serves +no: /, /^log: served by lux-1 alone/]);
  for (const environment of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) {
    t.equal((await casemate('status', { answer: '', environment })).out, plain);
  }
  t.match((await casemate('why', { answer: '' })).out, '\u001b[1;31mvm: suspended for');
});

t.test('JSON is what the API gives', async (t) => {
  const { casemate, site } = await setUp(t);
  const status = JSON.parse(JSON.stringify(await site.status()));
  t.same(JSON.parse((await casemate('status --json')).out), status);
  t.same(JSON.parse((await casemate('volume show vm --json')).out).volume.name, 'vm');
  t.same(JSON.parse((await casemate('events --json --limit 1')).out).length, 1);
});

t.test('why tells of all volumes or of one', async (t) => {
  const { casemate } = await setUp(t, [groupStatus('db'), suspendedGroup('vm')]);
  t.match(await casemate('why'), { code: 4, out: /^db: served .*\nvm: suspended for 4\.1 s/ });
  t.match(await casemate('why db'), { code: 0, out: /^db: served by lux-1; in sync .*\n$/ });
  t.match(await casemate('why vn'), { code: 1, err: /no volume "vn".*\nhint: Did you mean vm\?/ });
});

t.test('events are listed oldest first', async (t) => {
  const { casemate } = await setUp(t);
  const { out } = await casemate('events');
  t.match(out, /info +started +- +started\n.* warn +peer-lost +vm +peer gone\n$/);
});

t.test('volumes are created, shown, resized and listed', async (t) => {
  const { casemate, site } = await setUp(t);
  const created = await casemate('volume create db --size 10GiB --on-peer-loss suspend');
  t.match(created, { code: 0, out: /"db" of 10 GiB is created\n {2}nbd\+unix:\/\/\/db/ });
  const resized = await casemate('volume resize vm --size 20GiB');
  t.match(resized, { code: 0, out: 'volume "vm" has 20 GiB now\n' });
  t.match(await casemate('volume list'), { code: 0, out: /VOLUME.*\nvm +vm +10 GiB/ });
  const shown = await casemate('volume show vm');
  t.match(shown, { code: 0, out: /size +10 GiB \(10737418240 bytes\), 3 GiB used/ });
  t.match(await casemate('volume show x'), { code: 1, err: /ERR_NO_SUCH_VOLUME/ });
  t.same(site.asked, [
    ['create', { name: 'db', sizeBytes: 10 * 1024 ** 3, onPeerLoss: 'suspend' }],
    ['resize', 'vm', 20 * 1024 ** 3],
  ]);
});

t.test('a volume is deleted only when its name was typed, or with --yes', async (t) => {
  const { casemate, site } = await setUp(t);
  t.match(await casemate('volume delete vm'), { code: 2, err: /no terminal to ask.*\n.*--yes/ });
  const mistyped = await casemate('volume delete vm', { answer: 'yes' });
  t.match(mistyped, { code: 1, err: /not confirmed; nothing was done \(ERR_NOT_CONFIRMED\)/ });
  t.same(site.asked, []);
  const typed = await casemate('volume delete vm', { answer: 'vm' });
  t.match(typed, { code: 0, asked: [/3 GiB of data on both sites/] });
  t.match(await casemate('volume delete vm --yes'), { code: 0, asked: [] });
  t.same(site.asked, [
    ['delete', 'vm'],
    ['delete', 'vm'],
  ]);
});

t.test('a switchover says who is primary now', async (t) => {
  const { casemate, site } = await setUp(t);
  const { code, out } = await casemate('switchover vm');
  t.equal(code, 0);
  t.equal(out, 'lux-1 is primary of "vm" now (epoch 4)\n');
  t.same(site.asked, [['switchover', 'vm']]);
});

t.test('a forced promotion shows its evidence before it asks', async (t) => {
  const { casemate, site } = await setUp(t);
  const refused = await casemate('promote vm --force');
  t.match(refused, { code: 2, err: /no terminal to ask/ });
  const mistyped = await casemate('promote vm --force', { answer: 'y' });
  t.equal(mistyped.code, 1);
  t.match(mistyped.out, /on both sites +up to record 812/);
  t.match(mistyped.out, /may be lost +YES/);
  t.match(mistyped.out, '! lux-2 may have acknowledged more');
  t.same(site.asked, []);
  const typed = await casemate('promote vm --force', { answer: 'vm' });
  t.match(typed, { code: 0, out: /lux-1 is primary of "vm" now/ });
  t.equal((await casemate('promote vm --force --yes')).code, 0);
  t.same(site.asked, [
    ['promote', 'vm', 'c0ffee'],
    ['promote', 'vm', 'c0ffee'],
  ]);
});

t.test("the daemon's errors are shown with code and hint", async (t) => {
  const { casemate, site } = await setUp(t);
  site.failure = new CasemateError('ERR_PEER_NEEDED', 'needs both sites', {
    hint: 'wait for lux-2',
    status: 503,
  });
  const { code, err } = await casemate('switchover vm');
  t.equal(code, 1);
  t.equal(err, 'casemate: needs both sites (ERR_PEER_NEEDED)\nhint: wait for lux-2\n');
});

t.test('a configuration that can not be used is told by `run`', async (t) => {
  const directory = t.testdir({ 'site.toml': 'cluster = "lux"\nsiet = "lux-1"\n' });
  const { code, err } = await run(['run', '--config', `${directory}/site.toml`]);
  t.equal(code, 1);
  t.match(err, /ERR_CONFIG/);
  t.match(err, 'siet is not a key; did you mean site?');
});

t.test('what keeps a process from starting is said without a stack', async (t) => {
  const busy = new LinkStartError('ERR_LINK_LISTEN', 'cannot listen for sites on 127.0.0.1:9629');
  t.equal(
    errorText(busy),
    'casemate: cannot listen for sites on 127.0.0.1:9629 (ERR_LINK_LISTEN)\n' +
      'hint: Set replication.listen (of a witness: listen) to an address that nothing else uses.\n',
  );
  const damaged = new LogError('ERR_LOG_DAMAGED', 'the log is damaged', { hint: 'Look at it.' });
  t.equal(
    errorText(damaged),
    'casemate: the log is damaged (ERR_LOG_DAMAGED)\nhint: Look at it.\n',
  );
  t.match(errorText(new Error('what')), /unexpected error \(ERR_INTERNAL\)\nError: what\n +at/);
});

t.test('status shows how far a resync is', async (t) => {
  const resync = {
    direction: 'from-here' as const,
    full: false,
    inPlace: false,
    doneBytes: 41 * 2 ** 20,
    totalBytes: 100 * 2 ** 20,
    rateBytes: 2 ** 20,
    secondsLeft: 59,
  };
  const behind = await setUp(t, [groupStatus('vm', { inSync: false, resync })]);
  const { out } = await behind.casemate('status');
  t.match(out, '\nresync of vm: [########            ] 41 % of 100 MiB, 1 MiB/s, 59.0 s left\n');
  const whole = await setUp(t, [groupStatus('vm', { inSync: true, resync })]);
  t.notMatch((await whole.casemate('status')).out, 'resync of vm');
});
