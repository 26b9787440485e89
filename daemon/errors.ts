/** The daemon's typed errors. The code is stable and documented in the README; the text is not. */
export class CasemateError extends Error {
  readonly code: string;
  /** What to do about it, for a person. */
  readonly hint: string | undefined;
  /** HTTP status that the API answers with. */
  readonly status: number;

  constructor(
    code: string,
    message: string,
    options: { hint?: string; status?: number; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'CasemateError';
    this.code = code;
    this.hint = options.hint;
    this.status = options.status ?? 400;
  }
}
