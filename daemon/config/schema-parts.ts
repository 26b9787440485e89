/**
 * What configuration schemas are made of: types of values with their form in words, and tables. The
 * keys are in `schema.ts` (a site) and `../witness/witness-config.ts`.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { addressForm } from './address.ts';
import { parseSize } from './sizes.ts';

/** Annotations of ours on TypeBox schemas, read by `parse.ts` and `reference.ts`. */
export interface KeyAnnotations {
  /** The value may be written with a unit ("64MiB"). */
  readonly size?: true;
  /** What a right value looks like, for messages. */
  readonly form?: string;
  /** The default is derived from other keys; how, in words. */
  readonly derivedDefault?: string;
  /** A wrong value is not shown in messages: it may be a secret that was put there by mistake. */
  readonly hidden?: true;
}

function bytes(text: string) {
  const value = parseSize(text);
  if (value === undefined) throw new TypeError(`the schema has a bad size: ${text}`);
  return value;
}

export function size(limits: { min: string; max: string; standard: string }, description: string) {
  return Type.Integer({
    minimum: bytes(limits.min),
    maximum: bytes(limits.max),
    default: bytes(limits.standard),
    size: true,
    description,
  });
}

export function integer(
  limits: { min: number; max: number; standard: number },
  description: string,
) {
  return Type.Integer({
    minimum: limits.min,
    maximum: limits.max,
    default: limits.standard,
    description,
  });
}

export function siteName(description: string) {
  return Type.String({
    pattern: '^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$',
    form: 'a name of 1 to 63 letters, digits, "-" and ".", beginning with a letter or digit',
    description,
  });
}

export function address(description: string, options: { default?: string } = {}) {
  return Type.String({
    pattern: addressForm,
    form: '"host:port" with a port from 0 to 65535 (an IPv6 host in brackets)',
    description,
    ...options,
  });
}

export function path(description: string, options: { derivedDefault?: string } = {}) {
  return Type.String({
    pattern: '^/',
    form: 'an absolute path (a relative one would depend on where the daemon is started)',
    description,
    ...options,
  });
}

export function table<Properties extends Record<string, TSchema>>(
  properties: Properties,
  description: string,
) {
  return Type.Object(properties, { additionalProperties: false, description });
}

/** Name of a pair of sites. */
export const clusterName = {
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$',
  form: 'a name of 1 to 63 letters, digits, "-", "_" and "."',
} as const;

/** The table `api`: where operators and Prometheus reach a process; `roles` are its tokens'. */
export function apiTable<Roles extends TSchema, More extends Record<string, TSchema>>(
  standard: string,
  roles: Roles,
  more: More,
) {
  const tokens = Type.Record(
    Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' }),
    table(
      {
        role: roles,
        sha256: Type.String({
          pattern: '^[0-9a-f]{64}$',
          form: 'the SHA-256 of a token, 64 hex digits, as `casemate token create` shows it',
          hidden: true,
          description:
            'SHA-256 of the token NAME, as `casemate token create` shows it. The token itself is nowhere here.',
        }),
      },
      'One token.',
    ),
    {
      form: 'a name of 1 to 63 letters, digits, "-", "_" and "."',
      description: 'Who may use the API over TCP.',
    },
  );
  return table(
    {
      listen: address(
        'TCP address of the API, /metrics and the health checks: HTTP on loopback, HTTPS with the certificate of [tls] elsewhere, which needs [tls] and a token.',
        { default: standard },
      ),
      unix: path(
        'Unix socket of the same, for whom the file modes on its way let in: they need no token, and may do everything.',
        { derivedDefault: '<dataDirectory>/api.sock' },
      ),
      ...more,
      tokens: Type.Optional(tokens),
    },
    'The HTTP API.',
  );
}

/** Files of TLS, the same for a site and a witness. */
export function tlsTable() {
  return Type.Optional(
    table(
      {
        certificate: path('Certificate of this process, as `casemate pki issue` writes it (PEM).'),
        key: path('Its private key (PEM), which other users must not be able to read.'),
        authority: path(
          'Certificates of the authorities that are trusted (PEM); two while one is replaced.',
        ),
      },
      'TLS 1.3 with certificates on both ends, between sites and witness.',
    ),
  );
}

export function loggingTable() {
  return table(
    {
      level: Type.Union(
        [
          Type.Literal('trace'),
          Type.Literal('debug'),
          Type.Literal('info'),
          Type.Literal('warn'),
          Type.Literal('error'),
          Type.Literal('fatal'),
          Type.Literal('silent'),
        ],
        { default: 'info', description: 'Least severe log line that is written.' },
      ),
    },
    'Log lines: JSON on standard output.',
  );
}

type DeepReadonly<Type> = Type extends object
  ? { readonly [Key in keyof Type]: DeepReadonly<Type[Key]> }
  : Type;

/** A checked configuration, frozen; every default filled in, sizes in bytes. */
export type Checked<Schema extends TSchema> = DeepReadonly<Static<Schema>>;
