/** What a command needs to know: given by an option, or asked of a person until it can be used. */
import { CasemateError } from '../errors.ts';
import { usageError } from './errors.ts';
import type { Terminal } from './terminal.ts';

const triesMax = 5;

export interface Question {
  /** The option that would have said it. */
  readonly option: string;
  readonly text: string;
}

export class Questions {
  readonly #terminal: Terminal;
  #asked = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Somebody is there, and has answered something. */
  get haveBeenAsked(): boolean {
    return this.#asked;
  }

  /**
   * What `read` makes of the given text, or of the answer: it throws ERR_USAGE for one that can't
   * be used, and the question comes again, a few times.
   * @throws CasemateError ERR_USAGE for a given text, without a terminal, and in the end
   */
  async given<Answer>(
    text: string | undefined,
    question: Question,
    read: (text: string) => Answer,
  ): Promise<Answer> {
    if (text !== undefined) return read(text);
    if (!this.#terminal.interactive) {
      const hint = 'Give it as an option, or run the command in a terminal, where it asks.';
      throw usageError(`${question.option} is missing`, hint);
    }
    this.#asked = true;
    for (let tries = 1; ; tries += 1) {
      const answer = (await this.#terminal.ask(`${question.text}: `)).trim();
      try {
        return read(answer);
      } catch (error) {
        const again = error instanceof CasemateError && error.code === 'ERR_USAGE';
        if (!again || tries === triesMax) throw error;
        this.#terminal.writeError(`${error.message}\n`);
      }
    }
  }
}
