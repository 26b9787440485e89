/** `casemate init`: what it writes is what the daemons take, and it writes over nothing. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCommandLine } from '../../daemon/cli/command-line.ts';
import { loadConfig } from '../../daemon/config/parse.ts';
import { loadWitnessConfig } from '../../daemon/witness/witness-config.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

async function init(t: Test, args: readonly string[], answers?: readonly string[]) {
  const directory = join(scratchDirectory(t), 'new');
  let [out, err] = ['', ''];
  const asked: string[] = [];
  const left = [...(answers ?? [])];
  const code = await runCommandLine(['init', '--dir', directory, ...args], {
    write: (text) => {
      out += text;
    },
    writeError: (text) => {
      err += text;
    },
    interactive: answers !== undefined,
    environment: {},
    ask: async (question) => {
      asked.push(question);
      return left.shift() ?? '';
    },
  });
  return { directory, code, out, err, asked };
}

const sites = ['--site', 'lux-1=10.20.0.1', '--site', 'lux-2=lux-2.example.org:9700'];
const lux = ['--cluster', 'lux', ...sites];

t.test('three files that the daemons take, and fit each other', async (t) => {
  const { directory, code, out, err } = await init(t, [...lux, '--witness', 'lux-w=[fd00::1]']);
  t.equal(err, '');
  t.equal(code, 0);
  const one = loadConfig(join(directory, 'lux-1/site.toml'));
  const two = loadConfig(join(directory, 'lux-2/site.toml'));
  const witness = loadWitnessConfig(join(directory, 'lux-w/witness.toml'));
  t.equal(one.replication.listen, '10.20.0.1:9618');
  t.equal(two.replication.listen, 'lux-2.example.org:9700');
  t.same(one.peer, { site: 'lux-2', address: two.replication.listen });
  t.same(two.peer, { site: 'lux-1', address: one.replication.listen });
  for (const site of [one, two]) {
    t.same(site.witness, { name: witness.name, address: witness.listen });
    t.equal(site.cluster, 'lux');
    t.equal(site.log.sizeBytes, 4 * 2 ** 30);
    t.equal(site.tls, undefined);
  }
  t.equal(witness.listen, '[fd00::1]:9629');
  t.same(witness.clusters, { lux: { sites: ['lux-1', 'lux-2'] } });
  for (const name of ['lux-1', 'lux-2', 'lux-w']) t.match(out, `${name} (`);
});

t.test('with certificates, every file names them and the commands that make them', async (t) => {
  const { directory, code, out } = await init(t, [...lux, '--no-witness', '--tls']);
  t.equal(code, 0);
  const { tls, witness } = loadConfig(join(directory, 'lux-2/site.toml'));
  t.equal(tls?.key, '/etc/casemate/lux-2.key');
  t.equal(witness, undefined);
  t.match(out, 'casemate pki issue --cluster lux --site lux-2 --host lux-2.example.org\n');
  t.same(readdirSync(directory).sort(), ['lux-1', 'lux-2']);
});

t.test('--nbd: clients of other hosts come by TCP, with a certificate for it', async (t) => {
  const nbd = ['--nbd', 'lux-1=10.30.0.1', '--nbd', 'lux-2=lux-2.example.org:10810'];
  const { directory, code, out } = await init(t, [...lux, '--no-witness', '--tls', ...nbd]);
  t.equal(code, 0);
  t.equal(loadConfig(join(directory, 'lux-1/site.toml')).nbd.listen, '10.30.0.1:10809');
  t.equal(loadConfig(join(directory, 'lux-2/site.toml')).nbd.listen, 'lux-2.example.org:10810');
  t.match(out, '--site lux-1 --host 10.20.0.1 --host 10.30.0.1\n');
  t.match(out, '--site lux-2 --host lux-2.example.org\n');
  const without = await init(t, [...lux, '--no-witness', '--nbd', 'lux-1=10.30.0.1']);
  t.equal(loadConfig(join(without.directory, 'lux-2/site.toml')).nbd.listen, undefined);
});

t.test('it asks for what is not given, and for nothing else', async (t) => {
  const answers = ['lux', ' lux-1=10.0.0.1 ', 'lux-2=10.0.0.2', '', 'no'];
  const { directory, code, asked } = await init(t, [], answers);
  t.equal(code, 0);
  t.equal(asked.length, 5);
  t.equal(loadConfig(join(directory, 'lux-2/site.toml')).tls, undefined);
  t.equal(loadConfig(join(directory, 'lux-2/site.toml')).peer.address, '10.0.0.1:9618');
  const rest = await init(t, [...lux, '--witness', 'w=10.0.0.3'], []);
  t.equal(rest.code, 0);
  t.same(rest.asked, []);
});

t.test('it asks again when an answer can not be used, and in the end gives up', async (t) => {
  const answers = [
    'l x',
    'lux',
    'lux-1',
    'lux-1=10.0.0.1',
    'lux-2=10.0.0.2',
    'w=10.0.0.3',
    'perhaps',
    '',
  ];
  const { directory, code, asked, err } = await init(t, [], answers);
  t.equal(code, 0);
  t.equal(asked.length, answers.length);
  t.match(err, /^--cluster must be a name .*\n--site must be NAME=HOST.*\nthe answer is yes or no/);
  t.ok(
    loadConfig(join(directory, 'lux-1/site.toml')).tls,
    'certificates, as nothing else was said',
  );
  const refused = await init(t, ['--site', 'a=h', '--site', 'b=h', '--no-witness'], []);
  t.equal(refused.code, 2);
  t.equal(refused.asked.length, 5);
  t.notOk(existsSync(refused.directory));
});

const wrong: readonly (readonly [string, readonly string[], RegExp])[] = [
  ['no cluster', [], /--cluster is missing/],
  ['one site', ['--cluster', 'lux', '--site', 'a=h', '--no-witness'], /--site is missing/],
  ['three sites', [...lux, '--site', 'c=h', '--no-witness'], /--site twice/],
  ['a site without an address', ['--cluster', 'lux', '--site', 'a'], /NAME=HOST/],
  ['nothing said of a witness', lux, /--witness, or --no-witness, is missing/],
  ['a witness and none', [...lux, '--witness', 'w=h', '--no-witness'], /contradict/],
  ['one name twice', [...lux, '--witness', 'lux-1=h'], /a name of its own/],
  ['a name that is none', ['--cluster', 'l x', ...sites, '--no-witness'], /cluster/],
  ['clients at no site', [...lux, '--no-witness', '--nbd', 'x=h'], /lux-1 and lux-2; .* x /],
  [
    'clients at two addresses',
    [...lux, '--no-witness', '--nbd', 'lux-1=a', '--nbd', 'lux-1=b'],
    /once for each/,
  ],
  ['a log that is too small', [...lux, '--no-witness', '--log-size', '64MiB'], /log\.sizeBytes/],
];

for (const [name, args, text] of wrong) {
  t.test(`${name}: it says so and writes nothing`, async (t) => {
    const { directory, code, err } = await init(t, args);
    t.not(code, 0);
    t.match(err, text);
    t.notOk(existsSync(directory));
  });
}

t.test('a file that is there is left, with all others unwritten', async (t) => {
  const first = await init(t, [...lux, '--no-witness']);
  const path = join(first.directory, 'lux-2/site.toml');
  writeFileSync(path, 'mine');
  const args = [...lux, '--witness', 'lux-w=h', '--dir', first.directory];
  const { code, err } = await init(t, args);
  t.equal(code, 2);
  t.match(err, /is there already/);
  t.notOk(existsSync(join(first.directory, 'lux-w')));
});
