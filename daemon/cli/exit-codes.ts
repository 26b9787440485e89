/** What the command's exit code says to scripts. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  notServing: 4,
  doctorWarnings: 5,
  doctorErrors: 6,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodesHelp = `Exit codes:
  0  done
  1  it failed: the message says why
  2  the command line was wrong
  3  the daemon could not be reached
  4  status, why: something does not serve
  5  doctor: there are warnings
  6  doctor: there are errors
`;
