/**
 * One round of CASPaxos (Rystsov, "CASPaxos: Replicated State Machines without logs", 2018):
 * prepare, choose from the newest value, accept. Always both phases (R4), so that what is given
 * back as the value has been chosen by this very round.
 */
import assert from 'node:assert/strict';
import type { GroupId, StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from '../core/config.ts';
import type { Ballot } from './ballot.ts';
import { gather } from './gather.ts';
import type { AcceptAnswer, AcceptorClient, LookAnswer, PrepareAnswer } from './messages.ts';
import {
  chosenValue,
  hasPromises,
  newestValue,
  quorumFor,
  type RoundQuorum,
  sortAnswers,
} from './quorum.ts';

export type RoundResult =
  /** `value` is chosen. */
  | { readonly kind: 'chosen'; readonly value: GroupConfig }
  /** All acceptors asked are blank: there is no value. */
  | { readonly kind: 'absent' }
  /** Nothing can be chosen without a site at which `value` was forced alone (R35). */
  | { readonly kind: 'forced'; readonly value: GroupConfig }
  /** Another proposer's ballot is in the way; what was accepted so far may be chosen or not. */
  | { readonly kind: 'conflict' }
  /** Too few answered; what was accepted so far may be chosen or not. */
  | { readonly kind: 'unreachable' };

export interface ProposerOptions {
  readonly groupId: GroupId;
  readonly me: StoreId;
  readonly bootId: string;
  readonly clients: () => readonly AcceptorClient[];
}

export class Proposer {
  readonly #options: ProposerOptions;
  #round = 0;

  constructor(options: ProposerOptions) {
    this.#options = options;
  }

  /**
   * Makes `change(newest)` the value, where newest is undefined if all acceptors are blank; a
   * change that gives back what it got confirms it, one that gives undefined leaves it absent.
   */
  async round(
    change: (current: GroupConfig | undefined) => GroupConfig | undefined,
  ): Promise<RoundResult> {
    const clients = this.#options.clients();
    const ballot = this.#nextBallot();
    const { groupId } = this.#options;
    const answers = await gather(
      clients.map((client) => client.prepare(groupId, ballot)),
      (soFar) =>
        this.#hasOwnAnswer(clients, soFar) &&
        (isPlainQuorum(soFar, change) || isContested(clients, soFar)),
    );
    this.#noteRefusals(answers);
    if (!this.#hasOwnAnswer(clients, answers)) return { kind: 'unreachable' };
    const sorted = sortAnswers(answers);
    const current = newestValue(sorted.promises);
    if (current === undefined) {
      return forcedElsewhere(answers) ?? this.#fromAbsent(clients, ballot, answers, change);
    }
    const next = change(current);
    assert(next !== undefined, 'a value that is there is not removed');
    const quorum = quorumFor(sorted, next);
    if (!hasPromises(quorum, sorted)) return forcedElsewhere(answers, quorum) ?? failure(answers);
    return this.#accept(clients, ballot, next, quorum);
  }

  /**
   * The value, if a look shows that it is chosen: then no round is needed to read it, and nothing
   * is written. Undefined while a change is half done or too few answer: a round settles that.
   */
  async look(): Promise<GroupConfig | undefined> {
    const { groupId, me } = this.#options;
    const clients = this.#options.clients();
    const chosen = (soFar: readonly LookAnswer[]): GroupConfig | undefined =>
      this.#hasOwnAnswer(clients, soFar) ? chosenValue(soFar) : undefined;
    const answers = await gather(
      clients.map((client) => client.look(groupId, me)),
      (soFar) => chosen(soFar) !== undefined,
    );
    return chosen(answers);
  }

  /** What was forced here alone (R35) only this site's own acceptor tells: it is always heard. */
  #hasOwnAnswer(
    clients: readonly AcceptorClient[],
    answers: readonly { readonly storeId: StoreId }[],
  ): boolean {
    const { me } = this.#options;
    const isOwn = ({ storeId }: { readonly storeId: StoreId }): boolean => storeId === me;
    return answers.some(isOwn) || !clients.some(isOwn);
  }

  /** R35: `value` is taken by this site's own acceptor alone. */
  async force(value: GroupConfig): Promise<RoundResult> {
    const { me } = this.#options;
    const own = this.#options.clients().filter(({ storeId }) => storeId === me);
    return this.#accept(own, this.#nextBallot(), value, acceptedByAll([me]));
  }

  /** R39: a value is created where there is none by all of its acceptors. */
  async #fromAbsent(
    clients: readonly AcceptorClient[],
    ballot: Ballot,
    answers: readonly PrepareAnswer[],
    change: (current: undefined) => GroupConfig | undefined,
  ): Promise<RoundResult> {
    const { blanks } = sortAnswers(answers);
    const first = change(undefined);
    const needed = first?.acceptors ?? clients.map(({ storeId }) => storeId);
    const areBlank = needed.every((store) => blanks.includes(store));
    if (!areBlank || blanks.length === 0) return failure(answers);
    if (first === undefined) return { kind: 'absent' };
    return this.#accept(clients, ballot, first, acceptedByAll(first.acceptors));
  }

  async #accept(
    clients: readonly AcceptorClient[],
    ballot: Ballot,
    value: GroupConfig,
    quorum: Pick<RoundQuorum, 'first' | 'firstCount' | 'last'>,
  ): Promise<RoundResult> {
    const first = await this.#offer(clients, ballot, value, quorum.first, quorum.firstCount);
    if (acceptedOf(first).length < quorum.firstCount) return failure(first);
    if (quorum.last.length > 0) {
      const last = await this.#offer(clients, ballot, value, quorum.last, quorum.last.length);
      if (acceptedOf(last).length < quorum.last.length) return failure(last);
    }
    return { kind: 'chosen', value };
  }

  async #offer(
    clients: readonly AcceptorClient[],
    ballot: Ballot,
    value: GroupConfig,
    stores: readonly StoreId[],
    count: number,
  ): Promise<readonly AcceptAnswer[]> {
    const asked = clients.filter(({ storeId }) => stores.includes(storeId));
    const answers = await gather(
      asked.map((client) => client.accept(this.#options.groupId, ballot, value)),
      (soFar) => acceptedOf(soFar).length >= count || isContested(asked, soFar),
    );
    this.#noteRefusals(answers);
    return answers.filter(({ storeId }) => stores.includes(storeId));
  }

  #nextBallot(): Ballot {
    this.#round += 1;
    return { round: this.#round, storeId: this.#options.me, bootId: this.#options.bootId };
  }

  #noteRefusals(answers: readonly (PrepareAnswer | AcceptAnswer)[]): void {
    for (const answer of answers) {
      if (answer.kind === 'refused') this.#round = Math.max(this.#round, answer.promised.round);
    }
  }
}

/** Enough to go on before the slow ones have answered; never where lists of acceptors differ. */
function isPlainQuorum(
  answers: readonly PrepareAnswer[],
  change: (current: GroupConfig | undefined) => GroupConfig | undefined,
): boolean {
  const sorted = sortAnswers(answers);
  const current = newestValue(sorted.promises);
  const next = current === undefined ? undefined : change(current);
  if (next === undefined) return false;
  const quorum = quorumFor(sorted, next);
  return quorum.last.length === 0 && isMajority(quorum) && hasPromises(quorum, sorted);
}

/**
 * A majority has answered, and not with one voice: a newer ballot gets on sooner than an acceptor
 * that may be standing still, whose call is given up only after long.
 */
function isContested(
  asked: readonly AcceptorClient[],
  answers: readonly (PrepareAnswer | AcceptAnswer)[],
): boolean {
  return answers.length * 2 > asked.length && answers.some(({ kind }) => kind === 'refused');
}

function isMajority(quorum: RoundQuorum): boolean {
  return quorum.firstCount === Math.floor(quorum.first.length / 2) + 1;
}

function acceptedByAll(
  first: readonly StoreId[],
): Pick<RoundQuorum, 'first' | 'firstCount' | 'last'> {
  return { first, firstCount: first.length, last: [] };
}

function acceptedOf(answers: readonly AcceptAnswer[]): readonly StoreId[] {
  const stores = answers.filter(({ kind }) => kind === 'accepted').map(({ storeId }) => storeId);
  return [...new Set(stores)];
}

/** R35: a site that was forced promises nothing to others; can there be a quorum without it? */
function forcedElsewhere(
  answers: readonly PrepareAnswer[],
  quorum?: RoundQuorum,
): RoundResult | undefined {
  const forced = answers.filter((answer) => answer.kind === 'forced');
  const [first] = forced;
  if (first === undefined) return undefined;
  const lost = (store: StoreId): boolean => forced.some(({ storeId }) => storeId === store);
  const left = quorum?.promisesFrom.filter((store) => !lost(store)) ?? [];
  if (quorum !== undefined && left.length >= quorum.promiseCount) return undefined;
  return { kind: 'forced', value: first.value };
}

function failure(answers: readonly (PrepareAnswer | AcceptAnswer)[]): RoundResult {
  return { kind: answers.some(({ kind }) => kind === 'refused') ? 'conflict' : 'unreachable' };
}
