/** The `[register]` table: who decides which site is primary (I5), and what must hold for it. */
import { Type } from '@sinclair/typebox';
import { isLoopbackHost, parseAddress } from './address.ts';

const endpointForm = '"http://host:port" or "https://host:port" (an IPv6 host in brackets)';
const pathForm = 'an absolute path (a relative one would depend on where the daemon is started)';

function optionalPath(description: string) {
  return Type.Optional(Type.String({ pattern: '^/', form: pathForm, description }));
}

export const registerTable = Type.Object(
  {
    type: Type.Union([Type.Literal('sites'), Type.Literal('etcd')], {
      default: 'sites',
      description:
        'Who decides which site is primary: the sites themselves ("sites") or an etcd cluster ("etcd"), with which either site goes on alone by itself. The same on both sites, and for good: a volume stays with what it was created with.',
    }),
    endpoints: Type.Optional(
      Type.Array(Type.String({ pattern: '^https?://[^/]+/?$' }), {
        minItems: 1,
        maxItems: 16,
        uniqueItems: true,
        form: `a list of 1 to 16 different texts such as ${endpointForm}`,
        description:
          'For etcd: the client URLs of its members, all of one cluster. Without "https" neither encrypted nor authenticated: only on a network that is yours alone.',
      }),
    ),
    keyPrefix: Type.String({
      pattern: '^(?:/[A-Za-z0-9._-]{1,64}){1,8}$',
      form: 'names of letters, digits, ".", "_" and "-", each after a "/"',
      default: '/casemate',
      description: 'For etcd: its keys begin so. The same on both sites.',
    }),
    timeoutMs: Type.Integer({
      minimum: 20,
      maximum: 60_000,
      default: 1000,
      description: 'For etcd: how long one endpoint may take to answer before the next is asked.',
    }),
    caFile: optionalPath('For etcd by https: certificates (PEM) that its members are trusted by.'),
    certFile: optionalPath(
      'For etcd by https: certificate (PEM) that this site shows. With `username` one without a common name: etcd refuses others.',
    ),
    keyFile: optionalPath('For etcd by https: private key (PEM) of that certificate.'),
    username: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 255,
        form: 'the name of a user of etcd',
        description: 'For etcd with authentication: its user, who may read and write the keys.',
      }),
    ),
    passwordFile: optionalPath("For etcd with authentication: file with that user's password."),
  },
  { additionalProperties: false, description: 'Who decides which site is primary.' },
);

/** What the checks look at: the table, and what it has to agree with. */
export interface RegisterRelations {
  readonly register: {
    readonly type: 'sites' | 'etcd';
    readonly endpoints?: readonly string[];
    readonly timeoutMs: number;
    readonly caFile?: string;
    readonly certFile?: string;
    readonly keyFile?: string;
    readonly username?: string;
    readonly passwordFile?: string;
  };
  readonly witness?: { readonly name: string };
  readonly replication: {
    readonly graceMs: number;
    readonly onPeerLoss: 'suspend' | 'preferred';
  };
}

const etcdKeys = [
  'endpoints',
  'caFile',
  'certFile',
  'keyFile',
  'username',
  'passwordFile',
] as const;

/** One sentence for each relation that does not hold. */
export function registerProblems(config: RegisterRelations): string[] {
  const { register, replication, witness } = config;
  if (register.type === 'sites') {
    return etcdKeys
      .filter((key) => register[key] !== undefined)
      .map((key) => `register.${key} is for etcd: set register.type to "etcd", or leave it out`);
  }
  const problems: string[] = [];
  if (register.endpoints === undefined) {
    problems.push(`register.endpoints is missing: etcd is reached at ${endpointForm}`);
  }
  if (witness !== undefined) {
    problems.push(
      `witness.name ("${witness.name}") has no use with register.type = "etcd", which decides without a witness: leave out one of the two`,
    );
  }
  if (replication.onPeerLoss === 'preferred') {
    problems.push(
      'replication.onPeerLoss ("preferred") must be left out with etcd: it decides which site goes on alone, either of them',
    );
  }
  if (register.timeoutMs >= replication.graceMs) {
    problems.push(
      `register.timeoutMs (${register.timeoutMs}) must be less than replication.graceMs (${replication.graceMs}): a takeover should not wait for an endpoint that is lost with the other site`,
    );
  }
  return [...problems, ...endpointProblems(register), ...identityProblems(register)];
}

function endpointProblems({ endpoints = [], username }: RegisterRelations['register']): string[] {
  const problems: string[] = [];
  const [first] = endpoints;
  for (const url of endpoints) {
    const address = parseAddress(url.replace(/^https?:\/\//, '').replace(/\/$/, ''));
    if (address === undefined || address.port === 0) {
      problems.push(`register.endpoints has "${url}": an endpoint is ${endpointForm}`);
    } else if (isSecure(url) !== isSecure(first ?? url)) {
      problems.push(
        `register.endpoints has both "${first}" and "${url}": all by http, or all by https`,
      );
    } else if (username !== undefined && !isSecure(url) && !isLoopbackHost(address.host)) {
      problems.push(
        `register.username can't be used with "${url}": its password would cross the network in clear; use https`,
      );
    }
  }
  return problems;
}

function identityProblems(register: RegisterRelations['register']): string[] {
  const problems: string[] = [];
  const { endpoints = [], certFile, keyFile, username, passwordFile } = register;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    problems.push('register.certFile and register.keyFile belong together: set both or none');
  }
  if ((username === undefined) !== (passwordFile === undefined)) {
    problems.push('register.username and register.passwordFile belong together: set both or none');
  }
  for (const key of ['caFile', 'certFile', 'keyFile'] as const) {
    if (register[key] === undefined || endpoints.every(isSecure)) continue;
    problems.push(`register.${key} has no use with endpoints by http: reach them by https`);
  }
  return problems;
}

function isSecure(url: string): boolean {
  return url.startsWith('https:');
}
