/**
 * What is asked of an acceptor in one turn of the event loop, for whichever groups, is carried out
 * in one transaction with one sync (R4): losing a site means a swap for each of its groups, all at
 * once. Nobody hears an answer before it is durable.
 */
import { AssertionError } from 'node:assert';
import { ReplicationError } from '../replication/errors.ts';
import { CasemateError } from './errors.ts';

export interface AcceptorBatchOptions {
  /**
   * Everything that `run` saves is on stable storage when this returns. Throws a CasemateError if
   * nothing of it was kept and it may be tried again; anything else: the disk has failed (I8).
   */
  readonly commit: (run: () => void) => void;
  /** Runs it when what has arrived by now has been looked at. */
  readonly later: (run: () => void) => void;
  readonly failed: (error: unknown) => void;
}

type Outcome = { readonly answer: unknown } | { readonly error: unknown };

interface Question {
  readonly ask: () => unknown;
  readonly settle: (outcome: Outcome) => void;
}

export class AcceptorBatch {
  readonly #options: AcceptorBatchOptions;
  #questions: Question[] = [];
  /** Why nothing is answered any more. */
  #ended: CasemateError | undefined;

  constructor(options: AcceptorBatchOptions) {
    this.#options = options;
  }

  /** Resolves with what `question` gives, when everything that it has saved is durable. */
  ask<Answer>(question: () => Answer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      let answer: { readonly value: Answer } | undefined;
      this.#questions.push({
        ask: () => {
          answer = { value: question() };
        },
        settle: (outcome) => {
          if ('error' in outcome) reject(outcome.error);
          else if (answer !== undefined) resolve(answer.value);
        },
      });
      if (this.#questions.length === 1) this.#options.later(() => this.#answerAll());
    });
  }

  /** The store is about to be closed: what comes now is not answered. */
  close(): void {
    this.#ended ??= new CasemateError('ERR_ACCEPTOR_CLOSED', 'this acceptor was closed');
  }

  #answerAll(): void {
    const questions = this.#questions;
    this.#questions = [];
    const outcomes = this.#carryOut(questions);
    for (const [index, { settle }] of questions.entries()) {
      const outcome = outcomes[index];
      if (outcome !== undefined) settle(outcome);
    }
  }

  #carryOut(questions: readonly Question[]): readonly Outcome[] {
    if (this.#ended !== undefined) {
      const error = this.#ended;
      return questions.map(() => ({ error }));
    }
    let outcomes: Outcome[] = [];
    try {
      this.#options.commit(() => {
        outcomes = questions.map(({ ask }) => outcomeOf(ask));
      });
      return outcomes;
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      if (error instanceof CasemateError) return questions.map(() => ({ error }));
      return this.#fail(questions, error);
    }
  }

  /** I8: after a failed sync nothing on this disk is known; nothing is promised any more. */
  #fail(questions: readonly Question[], cause: unknown): readonly Outcome[] {
    const why = cause instanceof Error ? cause.message : String(cause);
    const error = new CasemateError('ERR_DISK_FAILED', `the disk has failed: ${why}`, { cause });
    this.#ended = error;
    this.#options.failed(cause);
    return questions.map(() => ({ error }));
  }
}

/** What one question alone did wrong is its own outcome; anything else undoes all of them. */
function outcomeOf(ask: () => unknown): Outcome {
  try {
    return { answer: ask() };
  } catch (error) {
    if (error instanceof CasemateError || error instanceof ReplicationError) return { error };
    throw error;
  }
}
