/** What the doctor makes of facts that can't be had on any machine: disks, clocks, limits. */
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseConfig } from '../../daemon/config/parse.ts';
import { judgeOffset, judgeSync } from '../../daemon/doctor/check-clock.ts';
import { checkSiteConfig } from '../../daemon/doctor/check-config.ts';
import { checkDirectories } from '../../daemon/doctor/check-directories.ts';
import { judgeDisk } from '../../daemon/doctor/check-disk.ts';
import { checkFiles } from '../../daemon/doctor/check-files.ts';
import { judgeLimits } from '../../daemon/doctor/check-limits.ts';
import { judgePort } from '../../daemon/doctor/check-ports.ts';
import { judgeVisit } from '../../daemon/doctor/check-reach.ts';
import { checkVersions } from '../../daemon/doctor/check-versions.ts';
import { type Finding, worstOf } from '../../daemon/doctor/finding.ts';
import { siteSubject } from '../../daemon/doctor/subject.ts';
import { softwareVersion } from '../../daemon/version.ts';

const gibibyte = 2 ** 30;
const disk = {
  fileSystem: 'ext4',
  freeBytes: 100 * gibibyte,
  totalBytes: 200 * gibibyte,
  syncsMs: [0.5, 0.6, 0.7],
  punchesHoles: true,
  writesDirectly: true,
};
const device = { name: 'sda', rotating: false, writeCache: 'write through', virtual: false };
const room = { logBytes: gibibyte, volumeBytes: gibibyte };

/** What is not ok, as text. */
function wrong(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ severity }) => severity !== 'ok')
    .map(({ severity, text }) => `${severity}: ${text}`);
}

t.test('a disk that does what it should is ok', async (t) => {
  t.same(wrong(judgeDisk(disk, [device], room)), []);
  const cached = { ...device, writeCache: 'write back' };
  t.same(wrong(judgeDisk(disk, [cached], room)), [], 'a volatile cache that is flushed is fine');
});

const brokenDisks: readonly [what: string, Partial<typeof disk>, Partial<typeof device>, RegExp][] =
  [
    ['memory', { fileSystem: 'tmpfs' }, {}, /^error: .*in memory/],
    ['a network', { fileSystem: 'nfs' }, {}, /^error: .*network/],
    ['an overlay', { fileSystem: 'overlay' }, {}, /^warning: .*overlay/],
    ['no holes', { punchesHoles: false }, {}, /^warning: .*punch/],
    ['no direct writes', { writesDirectly: false }, {}, /^warning: .*page cache/],
    ['a slow sync', { syncsMs: [30, 40, 50] }, {}, /^warning: fdatasync takes 40 ms/],
    [
      'a sync that no device has seen',
      { syncsMs: [0.003, 0.004, 0.9] },
      { writeCache: 'write back' },
      /^warning: sda has a volatile write cache/,
    ],
    ['a turning disk that is too fast', {}, { rotating: true }, /^warning: sda turns, and syncs/],
    ['no room for the log', { freeBytes: 1000 }, {}, /^error: .*log\.sizeBytes/],
    ['hardly any room', { freeBytes: 5 * gibibyte }, {}, /^warning: 5 GiB of 200 GiB/],
  ];

for (const [what, facts, deviceFacts, text] of brokenDisks) {
  t.test(`disk: ${what}`, async (t) => {
    const found = wrong(judgeDisk({ ...disk, ...facts }, [{ ...device, ...deviceFacts }], room));
    t.equal(found.length, 1, found.join('\n'));
    t.match(found[0], text);
  });
}

t.test('disk: volumes that can outgrow it are a warning', async (t) => {
  const found = wrong(judgeDisk(disk, [device], { ...room, volumeBytes: 1000 * gibibyte }));
  t.match(found, [/^warning: 100 GiB are free, the volumes can still grow by/]);
});

t.test('disk: a virtual one may say that it turns', async (t) => {
  const virtual = { ...device, name: 'vda', rotating: true, virtual: true };
  t.same(wrong(judgeDisk(disk, [virtual], room)), []);
});

t.test('a clock is told by what keeps it and by how far it is off', async (t) => {
  t.equal(judgeSync({ synchronised: true, errorMsMax: 3.2 }).severity, 'ok');
  t.equal(judgeSync({ synchronised: false, errorMsMax: 16000 }).severity, 'warning');
  t.equal(judgeSync(undefined).severity, 'warning');
  t.equal(judgeOffset('etcd', 600).severity, 'ok');
  t.match(judgeOffset('etcd', 5000), { severity: 'warning', text: /5\.0 s behind/ });
  t.match(judgeOffset('etcd', -120_000), { severity: 'error', text: /120\.0 s ahead of/ });
});

t.test('limits that are too low are named with what is needed', async (t) => {
  const needs = { descriptors: 1500, memoryBytes: gibibyte };
  const limits = {
    processId: undefined,
    openFilesMax: 65_536,
    aioMax: 65_536,
    aioTaken: 0,
    memoryBytes: 8 * gibibyte,
  };
  t.same(wrong(judgeLimits(needs, limits)), []);
  t.match(wrong(judgeLimits(needs, { ...limits, openFilesMax: 1024 })), [
    /^error: .* may open 1024 files/,
  ]);
  t.match(wrong(judgeLimits(needs, { ...limits, aioTaken: 65_000 })), [/^warning: 536 asynch/]);
  t.match(wrong(judgeLimits(needs, { ...limits, memoryBytes: 1000 })), [/^error: the memory/]);
});

t.test('a port is judged by whether the daemon runs', async (t) => {
  const listens = { key: 'api.listen', address: '127.0.0.1:9617' };
  const running = { kind: 'running', version: '1', status: undefined } as const;
  const stopped = { kind: 'stopped' } as const;
  const taken = { kind: 'taken', holder: { name: 'nginx', processId: 7 } } as const;
  t.equal(judgePort(listens, { kind: 'free' }, stopped).severity, 'ok');
  t.equal(judgePort(listens, { kind: 'free' }, running).severity, 'warning');
  t.equal(judgePort(listens, taken, running).severity, 'ok');
  t.equal(judgePort(listens, taken, running, 7).severity, 'ok');
  t.match(judgePort(listens, taken, running, 8), { severity: 'error', text: /nginx/ });
  t.match(judgePort(listens, taken, stopped), { severity: 'error', text: /nginx \(process 7\)/ });
  const other = { kind: 'unclear', text: 'site x answers there' } as const;
  t.match(judgePort(listens, taken, other), { severity: 'error', text: /site x answers/ });
  const refused = judgePort(listens, { kind: 'refused', code: 'EADDRNOTAVAIL' }, stopped);
  t.match(refused, { severity: 'error', text: /does not have that address/ });
});

t.test('versions that differ are a warning, an old Node.js an error', async (t) => {
  const running = { kind: 'running', version: softwareVersion, status: undefined } as const;
  t.equal(worstOf(checkVersions(running, '20.1.0')), 'ok');
  t.equal(worstOf(checkVersions({ ...running, version: '0.0.1' }, '22.0.0')), 'warning');
  t.equal(worstOf(checkVersions({ kind: 'stopped' }, '18.19.0')), 'error');
  const to = { role: 'site', name: 'lux-2', key: 'peer.address', address: 'h:1' } as const;
  const greeted = { kind: 'greeted', roundTripMs: 1 } as const;
  t.equal(judgeVisit(to, { ...greeted, softwareVersion }, false).severity, 'ok');
  t.equal(judgeVisit(to, { ...greeted, softwareVersion: '9.9.9' }, false).severity, 'warning');
});

t.test('files are judged by what the user of the service may', async (t) => {
  const directory = t.testdir({ 'site.toml': '', key: '', data: {} });
  const path = (name: string): string => join(directory, name);
  chmodSync(path('site.toml'), 0o600);
  chmodSync(path('key'), 0o600);
  chmodSync(path('data'), 0o700);
  const site = siteSubject(config({}), path('site.toml'));
  const subject = {
    ...site,
    sockets: [],
    dataDirectory: path('data'),
    secrets: [{ key: 'tls.key', path: path('key') }],
  };
  const stopped = { kind: 'stopped' } as const;
  t.same(wrong(checkFiles(subject)), []);
  t.same(wrong(await checkDirectories(subject, stopped)), []);
  const theirs = { ...subject, user: { userId: 64_999, groupId: 64_999 } };
  t.match(wrong(checkFiles(theirs)), [
    /^error: the configuration .* can't be read by user 64999/,
    /^error: .*key \(tls\.key\) can't be read by user 64999/,
  ]);
  const directories = wrong(await checkDirectories(theirs, stopped));
  t.match(directories, [/^error: nothing can be written .* by user 64999/]);
  chmodSync(path('site.toml'), 0o644);
  chmodSync(path('key'), 0o640);
  const group = { ...theirs, user: { userId: 64_999, groupId: statSync(path('key')).gid } };
  t.same(wrong(checkFiles(group)), [], 'its group may read them');
});

type Tables = Readonly<Record<string, readonly string[] | undefined>>;

/** A configuration of a site with these lines for its tables, in place of those it usually has. */
function config(tables: Tables) {
  const all: Tables = {
    peer: ['site = "lux-2"', 'address = "127.0.0.1:9618"'],
    witness: ['name = "lux-w"', 'address = "127.0.0.1:9629"'],
    replication: ['listen = "127.0.0.1:9700"'],
    ...tables,
  };
  const body = Object.entries(all).map(([table, lines]) => {
    return lines === undefined ? '' : `[${table}]\n${lines.join('\n')}\n`;
  });
  const head = 'cluster = "lux"\nsite = "lux-1"\ndataDirectory = "/var/lib/casemate"\n';
  return parseConfig(head + body.join(''));
}

const tls = ['certificate = "/c.pem"', 'key = "/c.key"', 'authority = "/a.pem"'];
const open = 'listen = "10.0.0.1:10809"';
const etcd = ['type = "etcd"', 'endpoints = ["http://10.0.0.9:2379"]'];
const host = '10.0.0.2';
const unsafe: readonly [string, Tables, RegExp][] = [
  ['a link without TLS', { replication: ['listen = "10.0.0.1:9618"'] }, /neither encrypted/],
  ['clients without TLS', { nbd: [open] }, /NBD clients at 10/],
  ['clients that may leave TLS out', { tls, nbd: [open, 'tls = "offered"'] }, /may leave TLS out/],
  [
    'a witness on the host of a site',
    {
      tls,
      peer: ['site = "lux-2"', `address = "${host}:9618"`],
      witness: ['name = "w"', `address = "${host}:9629"`],
    },
    /on the host of a site/,
  ],
  [
    'an API for whoever may attach volumes',
    { nbd: ['unix = "/run/casemate/nbd.sock"'], api: ['unix = "/run/casemate/api.sock"'] },
    /to attach volumes may do everything at \/run\/casemate\/api\.sock/,
  ],
  ['errors before a takeover', { suspend: ['maxMs = 1000'] }, /before a takeover/],
  ['names that nobody shows', { 'access.vm': ['write = ["unix", "vm-1"]'] }, /\(vm-1\)/],
  ['etcd without TLS', { witness: undefined, register: etcd }, /etcd is asked without/],
  [
    'one site that never goes on alone',
    { witness: undefined, replication: ['listen = "127.0.0.1:1"', 'onPeerLoss = "preferred"'] },
    /only the preferred site/,
  ],
];

t.test('a configuration without such things is ok', async (t) => {
  t.same(wrong(checkSiteConfig(config({}))), []);
  const told = (tables: Tables): string =>
    checkSiteConfig(config(tables))
      .map(({ text }) => text)
      .join('\n');
  t.match(told({}), 'the API at 127.0.0.1:9617 asks for no token: every user of this machine may');
  const token = ['role = "read"', `sha256 = "${'ab'.repeat(32)}"`];
  const open = { tls, api: ['listen = "0.0.0.0:9617"'], 'api.tokens.grafana': token };
  t.match(told(open), 'the API at 0.0.0.0:9617 is there by HTTPS for tokens: grafana (read)');
});

for (const [what, tables, text] of unsafe) {
  t.test(`configuration: ${what} is a warning`, async (t) => {
    const found = wrong(checkSiteConfig(config(tables)));
    t.equal(found.length, 1, found.join('\n'));
    t.match(found[0], text);
  });
}
