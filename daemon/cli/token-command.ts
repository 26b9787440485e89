/** `casemate token create`: makes a token of the API, without a network and without a daemon. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type Role, tokenHash, tokenOf, tokenRandomBytes } from '../api/tokens.ts';
import { CasemateError } from '../errors.ts';
import { type Command, readArguments } from './command.ts';
import { usageError } from './errors.ts';
import { exitCodes } from './exit-codes.ts';
import { firstOf } from './volume-commands.ts';

const hint = '`casemate token create --help` shows how it is used.';
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

function readRole(text: string | undefined): Role {
  if (text === 'read' || text === 'operate') return text;
  throw usageError(
    text === undefined ? '--role is missing' : `--role is "${text}"`,
    'It is "read" (look: status, metrics, the page) or "operate" (everything).',
  );
}

function writeToken(path: string, token: string): void {
  try {
    writeFileSync(path, `${token}\n`, { mode: 0o600, flag: 'wx' });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CasemateError('ERR_TOKEN_FILE', `the token can't be written: ${why}`, {
      hint: 'No token was made. --out takes a file that is not there yet.',
      cause,
    });
  }
}

export const tokenCreateCommand: Command = {
  name: 'token create',
  summary: 'make a token, for who uses the API from elsewhere',
  help: `Usage: casemate token create NAME --role read|operate [--out FILE]

Makes a token for the HTTP API: shows it, once, and the lines for the configuration of each site or
witness that is to take it, which have its hash only. It counts after \`systemctl reload\`; without
its lines, and another reload, it no longer does. NAME is who events say it was.

  --role ROLE    what its bearer may do: "read" (status, metrics, the page) or "operate" (everything)
  --out FILE     write the token to a new file that only its owner can read, and do not show it

Examples:
  casemate token create prometheus --role read --out /etc/prometheus/casemate.token
  casemate token create alice --role operate
`,
  run: async (args, terminal) => {
    const options = { role: { type: 'string' }, out: { type: 'string' } } as const;
    const { values, positionals } = readArguments('token create', args, options, ['NAME']);
    const name = firstOf(positionals);
    if (!namePattern.test(name)) {
      throw usageError(`"${name}" is no name: letters, digits, "-", "_" and "."`, hint);
    }
    const role = readRole(values.role);
    const token = tokenOf(randomBytes(tokenRandomBytes));
    if (values.out === undefined) {
      terminal.write(
        `The token, shown this once. Whoever has it may ${mayDo[role]}:\n\n  ${token}\n\n`,
      );
    } else {
      writeToken(values.out, token);
      terminal.write(`The token is in ${values.out}. Whoever has it may ${mayDo[role]}.\n\n`);
    }
    const table = name.includes('.') ? `"${name}"` : name;
    terminal.write(
      'For the configuration of the daemon; then systemctl reload:\n\n' +
        `[api.tokens.${table}]\nrole = "${role}"\nsha256 = "${tokenHash(token)}"\n`,
    );
    return exitCodes.ok;
  },
};

const mayDo: Readonly<Record<Role, string>> = { read: 'look', operate: 'do everything' };
