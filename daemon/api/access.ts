/**
 * Who may do what by HTTP. Over TCP a token decides: it comes in the header `Authorization: Bearer`
 * and nowhere else, so that no address, log or other page's form has it. Without any token in the
 * configuration whoever is on this machine may do everything, as nobody else can connect. At the
 * Unix socket the modes of the files on the way to it have decided.
 */
import type { Caller } from '../caller.ts';
import { CasemateError } from '../errors.ts';
import { RefusalCount, type RefusalReason } from './refusals.ts';
import { type Role, type TokenSettings, Tokens } from './tokens.ts';

/** How a request came. */
export type Origin =
  | { readonly way: 'loopback' | 'network'; readonly address: string }
  /** `user`: who connected, where the system tells. */
  | { readonly way: 'unix'; readonly user: string | undefined };

export interface AccessRequest {
  readonly method: string;
  readonly authorization: string | undefined;
  /** What it asks for, as events show it. */
  readonly what: string;
  /** Everybody may ask this. */
  readonly open: boolean;
}

export interface AccessOptions {
  readonly tokens: TokenSettings | undefined;
  readonly nowMs: () => number;
}

/** A refusal that is worth an event. */
export type TellRefusal = (text: string, by: Caller) => void;

/** What only looks. */
export const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

const tokenHint =
  'Send it as "Authorization: Bearer TOKEN"; the command takes --token-file FILE or CASEMATE_TOKEN. ' +
  "On the daemon's machine root and the daemon's user need none: --config FILE. " +
  '`casemate token create` makes one.';

export class ApiAccess {
  #tokens: Tokens;
  readonly #refusals: RefusalCount;

  constructor({ tokens, nowMs }: AccessOptions) {
    this.#tokens = new Tokens(tokens);
    this.#refusals = new RefusalCount(nowMs);
  }

  /** From now on these tokens count, also on connections that are open. */
  take(tokens: TokenSettings | undefined): void {
    this.#tokens = new Tokens(tokens);
  }

  get refused(): Readonly<Record<RefusalReason, number>> {
    return this.#refusals.counts;
  }

  /**
   * Who asks, if they may.
   * @throws CasemateError ERR_TOKEN (401), ERR_ROLE (403)
   */
  judge(request: AccessRequest, origin: Origin, tell: TellRefusal): Caller {
    if (origin.way === 'unix') {
      return { who: origin.user ?? 'local', role: 'operate', from: 'unix socket' };
    }
    const from = origin.address;
    if (origin.way === 'loopback' && this.#tokens.isEmpty) {
      return { who: 'local', role: 'operate', from };
    }
    const { authorization, what, open } = request;
    const needed: Role = safeMethods.has(request.method) ? 'read' : 'operate';
    const nobody: Caller = { who: 'nobody', role: 'none', from };
    const refuse = (reason: RefusalReason, by: Caller, error: CasemateError): never => {
      this.#refusals.count(reason);
      // Whoever opens the page asks for its data once without a token: that is no attempt.
      const isAttempt = reason !== 'no-token' || needed === 'operate';
      const said = `${what}: refused, ${error.message}`;
      const text = isAttempt ? this.#refusals.tell(reason, said) : undefined;
      if (text !== undefined) tell(text, by);
      throw error;
    };
    if (authorization === undefined) {
      return open ? nobody : refuse('no-token', nobody, tokenError('this needs a token'));
    }
    const known = this.#tokens.find(/^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '');
    if (known === undefined) {
      return refuse('wrong-token', nobody, tokenError('that token is not known here'));
    }
    const by: Caller = { who: `token ${known.name}`, role: known.role, from };
    if (needed === 'read' || known.role === 'operate') return by;
    return refuse('role', by, roleError(known.name));
  }
}

function tokenError(message: string): CasemateError {
  return new CasemateError('ERR_TOKEN', message, { hint: tokenHint, status: 401 });
}

function roleError(name: string): CasemateError {
  return new CasemateError('ERR_ROLE', `the token "${name}" may look, and change nothing`, {
    hint: 'Use a token whose role is "operate", or the Unix socket.',
    status: 403,
  });
}
