/**
 * Who has to promise and accept (R4, R5). A plain round needs a majority of the newest value's
 * acceptors, counted by store id. Where lists of acceptors differ, between the newest value and the
 * next or among the answers themselves (a change that was half done), all of both have to: but for
 * one store that leaves or that another one replaces, which may be gone for good: then all that
 * remain have to, so that no round of the old list can be won without one that knows the new list.
 *
 * A listed store that is blank, though, has never accepted anything (a lost disk comes back under
 * another id), so nothing can have been chosen with its help: it takes the value after all others.
 */
import type { StoreId } from '../../wal/frame.ts';
import type { GroupConfig } from '../core/config.ts';
import { compareBallots } from './ballot.ts';
import type { LookAnswer, PrepareAnswer } from './messages.ts';

export type PromiseAnswer = Extract<PrepareAnswer, { kind: 'promise' }>;

export interface PrepareAnswers {
  readonly promises: readonly PromiseAnswer[];
  readonly blanks: readonly StoreId[];
}

export interface RoundQuorum {
  /** `promiseCount` of these have to have promised. */
  readonly promisesFrom: readonly StoreId[];
  readonly promiseCount: number;
  /** `firstCount` of these accept, then all of `last`; then the value is chosen. */
  readonly first: readonly StoreId[];
  readonly firstCount: number;
  readonly last: readonly StoreId[];
}

/** R4: answers count by store id, one for each store. */
export function sortAnswers(answers: readonly PrepareAnswer[]): PrepareAnswers {
  const byStore = new Map<StoreId, PromiseAnswer>();
  const blanks: StoreId[] = [];
  for (const answer of answers) {
    if (answer.kind === 'blank') blanks.push(answer.storeId);
    if (answer.kind === 'promise') byStore.set(answer.storeId, answer);
  }
  return { promises: [...byStore.values()], blanks };
}

/** The value accepted at the highest ballot; but what was forced at one site alone comes first. */
export function newestValue(promises: readonly PromiseAnswer[]): GroupConfig | undefined {
  let newest: PromiseAnswer | undefined;
  for (const promise of promises) {
    if (isForcedAlone(promise)) return promise.value;
    if (newest === undefined || compareBallots(promise.acceptedBallot, newest.acceptedBallot) > 0) {
      newest = promise;
    }
  }
  return newest?.value;
}

/**
 * The value that is chosen, as far as these looks show it: a majority of the acceptors that it
 * lists has it at one ballot, and nobody has anything newer. A later majority meets this one in an
 * acceptor that had accepted nothing newer when it was looked at, so the value was the newest at
 * some moment of the look. (Where lists change, those that are added accept last.)
 */
export function chosenValue(answers: readonly LookAnswer[]): GroupConfig | undefined {
  const seen = answers.filter((answer) => answer.kind === 'seen');
  const forced = seen.find(isForcedAlone);
  if (forced !== undefined) return forced.value;
  if (answers.some(({ kind }) => kind === 'forced')) return undefined;
  const ballots = seen.map(({ acceptedBallot }) => acceptedBallot).sort(compareBallots);
  const newest = seen.filter(
    ({ acceptedBallot }) => compareBallots(acceptedBallot, ballots.at(-1)) === 0,
  );
  const value = newest[0]?.value;
  if (value === undefined) return undefined;
  const listed = newest.filter(({ storeId }) => value.acceptors.includes(storeId));
  return listed.length * 2 > value.acceptors.length ? value : undefined;
}

/** R35: only the site that was forced gets such an answer; no other history counts for it. */
function isForcedAlone({
  storeId,
  value,
}: {
  readonly storeId: StoreId;
  readonly value: GroupConfig;
}): boolean {
  const alone = value.acceptors.length === 1 && value.acceptors[0] === storeId;
  return alone && value.forced !== undefined && value.primary === storeId;
}

/** What a round needs that goes from the values seen in `answers` to `next`. */
export function quorumFor(answers: PrepareAnswers, next: GroupConfig): RoundQuorum {
  const forced = answers.promises.find(isForcedAlone);
  const seen = forced === undefined ? answers.promises : [forced];
  const others = distinctLists(seen.map(({ value }) => value.acceptors)).filter(
    (list) => !sameList(list, next.acceptors),
  );
  if (others.length === 0) return sameAcceptors(answers, next);
  if (forced !== undefined) return leaveForced(answers, forced.storeId, next);
  return changedAcceptors(answers, others, next);
}

export function hasPromises(quorum: RoundQuorum, { promises }: PrepareAnswers): boolean {
  const counted = promises.filter(({ storeId }) => quorum.promisesFrom.includes(storeId));
  return counted.length >= quorum.promiseCount;
}

function sameAcceptors(answers: PrepareAnswers, next: GroupConfig): RoundQuorum {
  const list = next.acceptors;
  const majority = Math.floor(list.length / 2) + 1;
  const plain = {
    promisesFrom: list,
    promiseCount: majority,
    first: list,
    firstCount: majority,
    last: [],
  };
  if (hasPromises(plain, answers)) return plain;
  const last = list.filter((store) => answers.blanks.includes(store));
  return last.length === 0 ? plain : allOf(without(list, last), last);
}

function changedAcceptors(
  answers: PrepareAnswers,
  others: readonly (readonly StoreId[])[],
  next: GroupConfig,
): RoundQuorum {
  const old = [...new Set(others.flat())];
  const added = without(next.acceptors, old);
  const remaining = without(next.acceptors, added);
  const removed = without(old, next.acceptors);
  const oneGoes = others.length === 1 && removed.length === 1;
  const replaces = oneGoes && added.length === 1 && remaining.length > 0;
  // All that remain being a majority of the old list, no later quorum of that list is without them.
  const leaves = oneGoes && added.length === 0 && remaining.length * 2 > old.length;
  const needed = replaces || leaves ? remaining : old;
  const blank = answers.blanks.filter((store) => next.acceptors.includes(store));
  const quorum = allOf(without(needed, answers.blanks), [...new Set([...added, ...blank])]);
  const promisesFrom = [...quorum.first, ...without(added, answers.blanks)];
  return { ...quorum, promisesFrom, promiseCount: promisesFrom.length };
}

/**
 * The forced site is the last to take a value that lists others again: until then it hears nobody
 * else, so an older history that those others still had cannot come back.
 */
function leaveForced(
  answers: PrepareAnswers,
  forcedStore: StoreId,
  next: GroupConfig,
): RoundQuorum {
  const first = without(next.acceptors, [forcedStore]);
  const promisesFrom = [forcedStore, ...without(first, answers.blanks)];
  return { ...allOf(first, [forcedStore]), promisesFrom, promiseCount: promisesFrom.length };
}

function allOf(first: readonly StoreId[], last: readonly StoreId[]): RoundQuorum {
  return {
    promisesFrom: first,
    promiseCount: first.length,
    first,
    firstCount: first.length,
    last,
  };
}

function without(list: readonly StoreId[], gone: readonly StoreId[]): readonly StoreId[] {
  return list.filter((store) => !gone.includes(store));
}

function sameList(a: readonly StoreId[], b: readonly StoreId[]): boolean {
  return a.length === b.length && a.every((store) => b.includes(store));
}

function distinctLists(lists: readonly (readonly StoreId[])[]): (readonly StoreId[])[] {
  const found: (readonly StoreId[])[] = [];
  for (const list of lists) if (!found.some((other) => sameList(other, list))) found.push(list);
  return found;
}
