/**
 * Tokens of the HTTP API. The configuration has the SHA-256 of each, never the token. No slow hash
 * is needed: a token has 256 random bits, which nobody finds by trying, however fast; slow hashes
 * are for passwords that people think of, and would only let strangers make this daemon work. What
 * does not look like a token that was made here is none, so that no such password is ever taken.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

export type Role = 'read' | 'operate';

/** Bytes of chance in a token. */
export const tokenRandomBytes = 32;

const prefix = 'casemate_';
const form = /^casemate_[A-Za-z0-9_-]{43}$/;

/** The token that these random bytes are. It begins so that scanners for secrets know it. */
export function tokenOf(random: Buffer): string {
  if (random.length !== tokenRandomBytes) throw new TypeError('a token has 32 random bytes');
  return prefix + random.toString('base64url');
}

export function isToken(text: string): boolean {
  return form.test(text);
}

/** As the configuration has it. */
export function tokenHash(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** The text without what looks like a token, for logs: somebody may put one where none belongs. */
export function withoutTokens(text: string): string {
  return text.replaceAll(/casemate_[A-Za-z0-9_-]{43}/g, 'casemate_…');
}

export type TokenSettings = Readonly<
  Record<string, { readonly role: Role; readonly sha256: string }>
>;

export interface KnownToken {
  readonly name: string;
  readonly role: Role;
}

/** The tokens of a configuration. */
export class Tokens {
  readonly #all: readonly (KnownToken & { readonly hash: Buffer })[];

  constructor(settings: TokenSettings = {}) {
    this.#all = Object.entries(settings).map(([name, { role, sha256 }]) => {
      return { name, role, hash: Buffer.from(sha256, 'hex') };
    });
  }

  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  /** Which one this is. Takes as long whether, and which, it is: each is compared to its end. */
  find(presented: string): KnownToken | undefined {
    if (!isToken(presented)) return undefined;
    const hash = Buffer.from(tokenHash(presented), 'hex');
    const [found] = this.#all.filter((each) => timingSafeEqual(each.hash, hash));
    return found === undefined ? undefined : { name: found.name, role: found.role };
  }
}
