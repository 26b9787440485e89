/**
 * What is asked of Casemate: for each job a first mark and a goal, as a quotient of figures of the
 * same run (or, where a plain limit is asked, a value), with the formula in words.
 */
import { boundName } from './bound.ts';
import { casemateName } from './casemate-names.ts';
import { mirrors, sameDurabilityMirrors } from './jobs.ts';
import { nbdkitFile, nbdkitFileSynced } from './peers/nbdkit.ts';
import type { Results, SampleField } from './results.ts';
import { largest, ratio } from './statistics.ts';

export interface Mark {
  readonly job: string;
  readonly level: 'first' | 'goal';
  /** How the measured figure is made, in words. */
  readonly formula: string;
  readonly comparison: 'at least' | 'at most';
  readonly asked: number;
  measured(results: Results): number | undefined;
}

export type Verdict = 'met' | 'missed' | 'not measured';

export interface Judged {
  readonly mark: Mark;
  readonly measured: number | undefined;
  readonly verdict: Verdict;
}

/** All marks against the figures of a run. */
export function judge(results: Results, of: readonly Mark[] = marks): Judged[] {
  return of.map((mark) => {
    const measured = mark.measured(results);
    if (measured === undefined) return { mark, measured, verdict: 'not measured' };
    const met = mark.comparison === 'at least' ? measured >= mark.asked : measured <= mark.asked;
    return { mark, measured, verdict: met ? 'met' : 'missed' };
  });
}

type Measure = (results: Results) => number | undefined;

const own =
  (job: string, field: SampleField): Measure =>
  (results) =>
    results.median(job, casemateName, field);

/** Casemate's rate by the best of the others' in the same job. */
const against =
  (job: string, others: readonly string[]): Measure =>
  (results) =>
    ratio(
      results.median(job, casemateName, 'rate'),
      largest(others.map((other) => results.median(job, other, 'rate'))),
    );

const againstDisk =
  (job: string): Measure =>
  (results) => {
    const disk = results.value('disk-sequential');
    return ratio(
      results.median(job, casemateName, 'throughput'),
      disk === undefined ? undefined : disk / 4,
    );
  };

const quotient =
  (over: Measure, under: Measure): Measure =>
  (results) =>
    ratio(over(results), under(results));

/** One thing that is asked, with its two marks. */
export interface Asked {
  readonly job: string;
  /** What somebody who decides wants to know. */
  readonly question: string;
  readonly formula: string;
  readonly measured: Measure;
  readonly comparison: 'at least' | 'at most';
  readonly first?: number;
  readonly goal?: number;
}

const diskFormula =
  "Casemate's MiB/s / (disk's sequential MiB/s / 4): each byte is written four times on it";
const mirrorFormula = 'IOPS / best two-site QEMU mirror, in either durability';
const resyncFormula = 'p99 of 4 KiB writes while the peer catches up / p99 before';

export const asked: readonly Asked[] = [
  {
    job: 'write-qd1',
    question: 'How near is one small write, alone, to what the machine can do?',
    formula: 'IOPS / physical limit',
    measured: against('write-qd1', [boundName]),
    comparison: 'at least',
    first: 0.5,
    goal: 0.75,
  },
  {
    job: 'write-qd1',
    question: 'And to the mirror one could build from QEMU, equally safe?',
    formula: 'IOPS / QEMU quorum, directsync (better link)',
    measured: against('write-qd1', sameDurabilityMirrors),
    comparison: 'at least',
    first: 1,
    goal: 1.5,
  },
  {
    job: 'write-qd32',
    question: 'Under load, how much faster than the best QEMU mirror, however unsafe?',
    formula: mirrorFormula,
    measured: against('write-qd32', mirrors),
    comparison: 'at least',
    first: 2,
    goal: 4,
  },
  {
    job: 'write-qd32',
    question: 'Are two safe copies as fast as one safe copy elsewhere?',
    formula: 'IOPS / unreplicated nbdkit file that syncs each write',
    measured: against('write-qd32', [nbdkitFileSynced.name]),
    comparison: 'at least',
    goal: 1,
  },
  {
    job: 'write-qd1-flush',
    question: "How fast are a file system's journal commits next to that mirror?",
    formula: 'IOPS / QEMU quorum, directsync (better link)',
    measured: against('write-qd1-flush', sameDurabilityMirrors),
    comparison: 'at least',
    first: 1.5,
    goal: 2.5,
  },
  ...['write-64k', 'write-1m'].map(
    (job): Asked => ({
      job,
      question: 'How much of the disk do large sequential writes use?',
      formula: diskFormula,
      measured: againstDisk(job),
      comparison: 'at least',
      first: 0.35,
      goal: 0.8,
    }),
  ),
  {
    job: 'read-qd1',
    question: 'Are single reads as fast as from a plain server?',
    formula: 'IOPS / nbdkit file',
    measured: against('read-qd1', [nbdkitFile.name]),
    comparison: 'at least',
    first: 0.5,
    goal: 1,
  },
  {
    job: 'read-qd32',
    question: 'And reads under load?',
    formula: 'IOPS / nbdkit file',
    measured: against('read-qd32', [nbdkitFile.name]),
    comparison: 'at least',
    first: 0.5,
    goal: 0.9,
  },
  {
    job: 'mix-qd32',
    question: 'How fast is the usual mix of reads and writes, next to the best mirror?',
    formula: mirrorFormula,
    measured: against('mix-qd32', mirrors),
    comparison: 'at least',
    first: 2,
    goal: 5,
  },
  {
    job: 'write-qd32',
    question: 'How much processor does a write take?',
    formula: 'CPU of both daemons per write, µs',
    measured: own('write-qd32', 'cpu'),
    comparison: 'at most',
    first: 60,
    goal: 30,
  },
  {
    job: 'write-tail',
    question: 'Does anything now and then take very long?',
    formula: 'p99.9 / p50',
    measured: quotient(own('write-tail', 'p999'), own('write-tail', 'p50')),
    comparison: 'at most',
    first: 15,
    goal: 5,
  },
  {
    job: 'volumes',
    question: 'Do many volumes cost more than one busy one?',
    formula: 'IOPS of 64 volumes at QD1 / 1 volume at QD64',
    measured: quotient(own('volumes-64', 'rate'), own('volume-qd64', 'rate')),
    comparison: 'at least',
    first: 0.6,
    goal: 0.9,
  },
  {
    job: 'memory',
    question: 'How much memory does a daemon take when idle?',
    formula: 'idle daemon, MiB',
    measured: (results) => results.value('memory-idle'),
    comparison: 'at most',
    first: 150,
    goal: 100,
  },
  {
    job: 'memory',
    question: 'Is memory bounded when the other site stalls under load?',
    formula: 'loaded, peer stalled: MiB above volumes.memoryBytesMax',
    measured: (results) => results.value('memory-stalled'),
    comparison: 'at most',
    first: 100,
    goal: 50,
  },
  {
    job: 'restart',
    question: 'How long until clients are answered after a crash of both sites?',
    formula: '1 GiB of log to recover, seconds to first answer',
    measured: (results) => results.value('restart'),
    comparison: 'at most',
    first: 10,
    goal: 2,
  },
  {
    job: 'takeover',
    question: 'How long do clients wait when the site that serves them is lost?',
    formula: 'primary killed, seconds until the other site answers writes',
    measured: (results) => results.value('takeover-primary'),
    comparison: 'at most',
    goal: 3,
  },
  {
    job: 'takeover',
    question: 'And when the other site is lost?',
    formula: 'secondary killed, seconds that writes wait',
    measured: (results) => results.value('takeover-secondary'),
    comparison: 'at most',
    goal: 2,
  },
  {
    job: 'resync',
    question: "How much do clients feel of a returning site's catching up?",
    formula: resyncFormula,
    measured: (results) => results.value('resync'),
    comparison: 'at most',
    first: 3,
    goal: 1.5,
  },
];

/** The marks, first before goal. */
export const marks: readonly Mark[] = asked.flatMap(({ first, goal, question: _, ...rest }) => [
  ...(first === undefined ? [] : [{ ...rest, level: 'first', asked: first } as const]),
  ...(goal === undefined ? [] : [{ ...rest, level: 'goal', asked: goal } as const]),
]);

/** What came of one thing that is asked. */
export interface Answer {
  readonly asked: Asked;
  readonly measured: number | undefined;
  /** The same in each repetition, where there were several: how far they lie apart. */
  readonly range: readonly [number, number] | undefined;
  readonly outcome: 'goal' | 'first' | 'missed' | 'not measured';
}

/** Everything that is asked about the named jobs, with its outcome. */
export function answers(results: Results, jobs: readonly string[]): Answer[] {
  const rounds = results.rounds();
  return asked
    .filter(({ job }) => jobs.includes(job))
    .map((each) => {
      const measured = each.measured(results);
      const repeated = rounds.map(each.measured).filter((value) => value !== undefined);
      const range =
        repeated.length > 1 ? ([Math.min(...repeated), Math.max(...repeated)] as const) : undefined;
      return { asked: each, measured, range, outcome: outcomeOf(each, measured) };
    });
}

function outcomeOf(
  { comparison, first, goal }: Asked,
  measured: number | undefined,
): Answer['outcome'] {
  if (measured === undefined) return 'not measured';
  const meets = (mark: number | undefined): boolean =>
    mark !== undefined && (comparison === 'at least' ? measured >= mark : measured <= mark);
  if (meets(goal)) return 'goal';
  return meets(first) ? 'first' : 'missed';
}
