/** What the doctor says: one finding for each thing that it has looked at. */

export type Severity = 'ok' | 'warning' | 'error';

export interface Finding {
  /** What was looked at, in one word. */
  readonly check: CheckName;
  readonly severity: Severity;
  /** What is so, in one sentence. */
  readonly text: string;
  /** What to do about it; absent where all is well. */
  readonly advice?: string;
}

export const checkNames = [
  'config',
  'files',
  'directories',
  'ports',
  'clock',
  'disk',
  'certificates',
  'reach',
  'versions',
  'limits',
] as const;
export type CheckName = (typeof checkNames)[number];

/** Makes the findings of one check. */
export function findingsOf(check: CheckName) {
  return {
    ok: (text: string): Finding => ({ check, severity: 'ok', text }),
    warning: (text: string, advice: string): Finding => ({
      check,
      severity: 'warning',
      text,
      advice,
    }),
    error: (text: string, advice: string): Finding => ({ check, severity: 'error', text, advice }),
  };
}

/** The worst of them; `ok` if there is none. */
export function worstOf(findings: readonly Finding[]): Severity {
  if (findings.some(({ severity }) => severity === 'error')) return 'error';
  return findings.some(({ severity }) => severity === 'warning') ? 'warning' : 'ok';
}

/** The words of an error, for a finding. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
