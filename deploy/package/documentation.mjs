/**
 * Writes the man page, or the completion for bash, from the commands' own help: what the package
 * says is what the program knows. Needs the build in dist/.
 *
 * node deploy/package/documentation.mjs man|completion
 */
import { commands } from '../../dist/daemon/cli/command-line.js';
import { exitCodesHelp } from '../../dist/daemon/cli/exit-codes.js';
import { softwareVersion } from '../../dist/daemon/version.js';

/** Text as roff takes it: no line may be read as a request, no dash as a hyphen. */
function roff(text) {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/^([.'])/gm, '\\&$1');
}

const literal = (text) => `.nf\n${roff(text.trimEnd())}\n.fi\n`;

function manPage() {
  const sections = commands.map(
    ({ name, help }) => `.SS casemate ${roff(name)}\n${literal(help.replace(/^Usage: /, ''))}`,
  );
  return `.TH CASEMATE 1 "" "Casemate ${roff(softwareVersion)}" "System administration"
.SH NAME
casemate \\- block volumes that are on two sites at once
.SH SYNOPSIS
.B casemate
.I COMMAND
[ARGUMENTS]
.SH DESCRIPTION
Casemate keeps block volumes on two sites at once: every write is on both before it is answered.
.B casemate run
is the daemon of a site,
.B casemate witness
the third voter; the other commands talk to a site's daemon.
.SH COMMANDS
${sections.join('')}.SH EXIT STATUS
${literal(exitCodesHelp.replace(/^Exit codes:\n/, ''))}.SH ENVIRONMENT
.TP
.B CASEMATE_API
Where the daemon's API listens, if neither \\-\\-api nor \\-\\-config says so.
.TP
.B CASEMATE_TOKEN, CASEMATE_TOKEN_FILE
A token for the API, or a file with one, without \\-\\-token\\-file.
.TP
.B CASEMATE_CA_FILE
The authority of the daemon's certificate, without \\-\\-ca.
.SH FILES
.TP
.I /etc/casemate/site.toml
The configuration of a site (casemate.service).
.TP
.I /etc/casemate/witness.toml
The configuration of a witness (casemate\\-witness.service).
.TP
.I /var/lib/casemate
A site's data: its log, its volumes and its store.
.TP
.I /usr/share/doc/casemate/README.md
Every key of the configuration, every metric, every error code.
`;
}

function completion() {
  const cases = commands.map(({ name, help }) => {
    const options = [...new Set(help.match(/--[a-z][a-z-]*/g) ?? [])];
    return `    '${name}') words='${[...options, '--help'].filter(unique).join(' ')}' ;;`;
  });
  const first = commands.map(({ name }) => name.split(' ')[0]).filter(unique);
  const families = first.filter((word) => commands.some(({ name }) => name.startsWith(`${word} `)));
  const inFamilies = families.map((word) => {
    const names = commands.filter(({ name }) => name.startsWith(`${word} `));
    return `    '${word}') words='${names.map(({ name }) => name.split(' ')[1]).join(' ')}' ;;`;
  });
  return `# Completion of the casemate command for bash.
_casemate() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} words=''
  local command=\${COMP_WORDS[1]}
  COMPREPLY=()
  case $previous in
    --config | --data | --token-file | --ca | --out)
      compopt -o default
      return
      ;;
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='${[...first, '--help', '--version'].join(' ')}'
  else
    case $command in
      ${families.join(' | ')})
        [ "$COMP_CWORD" -eq 2 ] || command="$command \${COMP_WORDS[2]}"
        ;;
    esac
    case $command in
${[...inFamilies, ...cases].map((line) => `  ${line}`).join('\n')}
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _casemate casemate
`;
}

function unique(value, index, list) {
  return list.indexOf(value) === index;
}

const writers = { man: manPage, completion };
const write = writers[process.argv[2]];
if (write === undefined) {
  process.stderr.write('Usage: documentation.mjs man|completion\n');
  process.exitCode = 2;
} else {
  process.stdout.write(write());
}
