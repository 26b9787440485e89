/** The `[register]` table of a site's configuration. */
import t from 'tap';
import { ConfigError, parseConfig } from '../../daemon/config/parse.ts';

const head = `cluster = "lux"
site = "lux-1"
dataDirectory = "/var/lib/casemate"
[peer]
site = "lux-2"
address = "lux-2.example.org:9618"
[replication]
listen = "[::]:9618"
`;

function read(register: string, more = ''): readonly string[] | ReturnType<typeof parseConfig> {
  try {
    return parseConfig(`${head}${more}\n[register]\n${register}\n`);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

t.test('without the table the sites decide', async (t) => {
  const { register } = parseConfig(head);
  t.same(register, { type: 'sites', keyPrefix: '/casemate', timeoutMs: 1000 });
});

t.test('etcd is taken with its endpoints, by http or by https with all there is', async (t) => {
  const plain = 'type = "etcd"\nendpoints = ["http://10.0.0.1:2379", "http://[::1]:2379/"]';
  t.match(read(plain), { register: { type: 'etcd', endpoints: ['http://10.0.0.1:2379', /::1/] } });
  const secure = `type = "etcd"
endpoints = ["https://etcd-1.example.org:2379"]
caFile = "/etc/ca.pem"
certFile = "/etc/cert.pem"
keyFile = "/etc/key.pem"
username = "casemate"
passwordFile = "/etc/password"
keyPrefix = "/storage/casemate"`;
  t.match(read(secure), { register: { username: 'casemate', keyPrefix: '/storage/casemate' } });
});

const etcd = 'type = "etcd"\nendpoints = ["https://a.example.org:2379"]\n';
const wrong: readonly [name: string, register: string, more: string, expected: RegExp][] = [
  ['no endpoints', 'type = "etcd"', '', /^register\.endpoints is missing: etcd is reached at/],
  ['another type', 'type = "consul"', '', /^register\.type must be one of "sites", "etcd"; it is/],
  ['keys of etcd for the sites', 'username = "a"', '', /^register\.username is for etcd: set/],
  [
    'an endpoint without a port',
    'type = "etcd"\nendpoints = ["http://a.example.org"]',
    '',
    /^register\.endpoints has "http:\/\/a\.example\.org": an endpoint is "http:\/\/host:port"/,
  ],
  ['no URL', 'endpoints = ["a:1"]', '', /^register\.endpoints must be a list of 1 to 16 diff/],
  [
    'http and https',
    'type = "etcd"\nendpoints = ["http://a:1", "https://b:1"]',
    '',
    /both "http:\/\/a:1" and "https:\/\/b:1": all by http, or all by https$/,
  ],
  ['a certificate alone', `${etcd}certFile = "/c"`, '', /certFile and register\.keyFile belong/],
  ['a user without a password', `${etcd}username = "a"`, '', /username and .* belong together/],
  [
    'a password in clear',
    'type = "etcd"\nendpoints = ["http://a.example.org:1"]\nusername = "a"\npasswordFile = "/p"',
    '',
    /its password would cross the network in clear; use https$/,
  ],
  [
    'a certificate for http',
    'type = "etcd"\nendpoints = ["http://127.0.0.1:1"]\ncaFile = "/ca"',
    '',
    /^register\.caFile has no use with endpoints by http: reach them by https$/,
  ],
  ['a long time-out', `${etcd}timeoutMs = 9000`, '', /^register\.timeoutMs \(9000\) must be less/],
  [
    'a preferred site',
    etcd,
    'onPeerLoss = "preferred"',
    /onPeerLoss .* must be left out with etcd/,
  ],
  [
    'a witness as well',
    etcd,
    '[witness]\nname = "lux-w"\naddress = "lux-w.example.org:9620"',
    /^witness\.name \("lux-w"\) has no use with register\.type = "etcd"/,
  ],
];

for (const [name, register, more, expected] of wrong) {
  t.test(`refused, with what would be right: ${name}`, async (t) => {
    const problems = read(register, more);
    t.ok(Array.isArray(problems), 'it is refused');
    t.match(problems, [expected]);
    t.equal(Array.isArray(problems) && problems.length, 1, 'and nothing else is said');
  });
}
