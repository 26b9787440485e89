/** Every key of a witness's configuration file, and what must hold between them. */
import { type Static, Type } from '@sinclair/typebox';
import { parseAddress } from '../config/address.ts';
import { deriveSocketDefaults, readConfig, readConfigFile } from '../config/parse.ts';
import { apiProblems } from '../config/relations.ts';
import {
  address,
  apiTable,
  type Checked,
  clusterName,
  integer,
  loggingTable,
  path,
  siteName,
  table,
  tlsTable,
} from '../config/schema-parts.ts';

export const witnessConfigSchema = table(
  {
    name: siteName('Name of this witness, as the sites have it in `witness.name`.'),
    dataDirectory: path('Where its state is kept. One witness each; never a copy of another.'),
    listen: address(
      'Where the sites connect to. Without [tls] neither encrypted nor authenticated: only on a network that is yours alone.',
    ),
    tls: tlsTable(),
    clusters: Type.Record(
      Type.String({ pattern: clusterName.pattern }),
      table(
        {
          sites: Type.Array(siteName(''), {
            minItems: 2,
            maxItems: 2,
            form: 'the names of the two sites, such as ["lux-1", "lux-2"]',
            description:
              'The two sites of the cluster NAME. Nobody else is answered, and each cluster sees only its own groups.',
          }),
        },
        'One pair of sites.',
      ),
      { form: clusterName.form, description: 'The pairs of sites that this witness serves.' },
    ),
    limits: table(
      {
        groupsMax: integer(
          { min: 1, max: 1_000_000, standard: 10_000 },
          'Groups of one cluster that are remembered, removed ones included; one more is refused.',
        ),
        connectionsMax: integer(
          { min: 2, max: 65_536, standard: 256 },
          'Connections of sites; one more is refused.',
        ),
        callsMax: integer(
          { min: 1, max: 65_536, standard: 1024 },
          'Questions of one site that wait for an answer; one more is refused.',
        ),
      },
      'Limits of the witness.',
    ),
    api: apiTable(
      '127.0.0.1:9619',
      Type.Literal('read', {
        form: '"read": a witness does nothing that an operator could ask for',
        description: 'What its bearer may do: look ("read"). A witness takes no orders.',
      }),
      {},
    ),
    logging: loggingTable(),
  },
  'The configuration of a witness.',
);

/** A checked configuration of a witness, frozen, every default filled in. */
export type WitnessConfig = Checked<typeof witnessConfigSchema>;

/** @throws {ConfigError} (ERR_CONFIG) listing everything that is wrong */
export function parseWitnessConfig(text: string, source = 'the configuration'): WitnessConfig {
  const definition = {
    schema: witnessConfigSchema,
    deriveDefaults: deriveSocketDefaults,
    relationProblems,
  };
  return readConfig(definition, text, source);
}

/** @throws {ConfigError} (ERR_CONFIG) if the file can't be read or used */
export function loadWitnessConfig(path: string): WitnessConfig {
  const { text, source } = readConfigFile(path);
  return parseWitnessConfig(text, source);
}

function relationProblems(config: Static<typeof witnessConfigSchema>): string[] {
  const { name, clusters, limits, listen, api } = config;
  const problems = apiProblems(config);
  for (const [cluster, { sites }] of Object.entries(clusters)) {
    const [first, second] = sites;
    const key = `clusters.${cluster}.sites`;
    if (first === second) problems.push(`${key} names "${first}" twice: a pair has two sites`);
    if (sites.includes(name)) {
      problems.push(
        `${key} names "${name}", which is this witness: on one of the two sites it would be lost with it`,
      );
    }
  }
  const needed = 2 * Object.keys(clusters).length;
  if (limits.connectionsMax < needed) {
    problems.push(
      `limits.connectionsMax (${limits.connectionsMax}) must be at least ${needed}: each of the ${needed / 2} clusters has two sites`,
    );
  }
  for (const [key, text] of [
    ['listen', listen],
    ['api.listen', api.listen],
  ] as const) {
    if (parseAddress(text) === undefined)
      problems.push(`${key} ("${text}") has a port above 65535`);
  }
  if (listen === api.listen && parseAddress(listen)?.port !== 0) {
    problems.push(`api.listen ("${listen}") is the same address as listen: each needs its own`);
  }
  return problems;
}
