/**
 * What a group asks of its register, and how the answers come back to the core: a swap until its
 * outcome is known (R11), and looks at what stands there (R9).
 */
import type { GroupConfig } from '../../replication/core/config.ts';
import type { CoreEvent } from '../../replication/core/events.ts';
import { isCancelled } from '../../replication/errors.ts';
import type { Register } from '../../replication/register/register.ts';

export interface RegisterTalkHost {
  /** Gives the core an event. */
  tell(event: CoreEvent): void;
  /** The register did what it never should. */
  bug(error: unknown): void;
}

export class RegisterTalk {
  readonly #register: Register;
  readonly #host: RegisterTalkHost;
  #reading = false;

  constructor(register: Register, host: RegisterTalkHost) {
    this.#register = register;
    this.#host = host;
  }

  /** Proposes `next` in place of `expected`; the core hears when it is won or lost. */
  swap(expected: GroupConfig, next: GroupConfig): void {
    this.#register.swap(expected, next).then(
      (result) => {
        if (result.outcome === 'won') this.#host.tell({ kind: 'swapWon', config: next });
        else this.#host.tell({ kind: 'swapLost', current: result.current });
      },
      (error: unknown) => {
        if (!isCancelled(error)) this.#host.bug(error);
      },
    );
  }

  /** Looks at the register: a newer configuration may have been won. One look at a time. */
  read(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#register.read().then(
      (current) => {
        this.#reading = false;
        if (current !== undefined) this.#host.tell({ kind: 'registerRead', current });
      },
      () => {
        // No quorum of acceptors answered: the core asks again when it has to.
        this.#reading = false;
      },
    );
  }
}
