/**
 * A run as one HTML file that stands by itself: the verdict first, then what it rests on. Nothing
 * is loaded from anywhere. Pure: text out of a run.
 */
import { casemateName } from '../casemate-names.ts';
import type { Run } from '../run-document.ts';
import { resyncJob } from '../scenario-jobs.ts';
import { formatNumber } from '../table.ts';
import { type Answer, answers } from '../targets.ts';
import { costSection, splitSection } from './costs.ts';
import { growthSection } from './growth.ts';
import { escapeText, section, table } from './markup.ts';
import { sideBySide } from './side-by-side.ts';
import { style } from './style.ts';
import { microSection, soakSection, valueSection } from './values.ts';

/** Repetitions further apart than this are worth a warning. */
const noisySpread = 0.3;
/** Load of other programs, per processor, that is worth one. */
const busyLoad = 0.5;

export function htmlReport(run: Run): string {
  const { head, results } = run;
  const list = answers(results, head.wanted);
  const sections = [
    verdictSection(list),
    sideBySide(results),
    splitSection(results),
    growthSection(results),
    costSection(results),
    soakSection(results),
    valueSection(results),
    microSection(results),
    methodSection(run),
  ].filter((each) => each !== '');
  const links = sections.map((each) => {
    const [, id = '', title = ''] = /<section id="([^"]+)"><h2>([^<]+)/.exec(each) ?? [];
    return `<a href="#${id}">${title}</a>`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Casemate: benchmarks, ${escapeText(head.time)}</title><style>${style}</style></head><body>
<h1>Casemate: benchmarks</h1>
<p class="soft">${escapeText(subtitle(run))}</p>
${summary(list, run)}
${warnings(run)}
<nav>${links.join('')}</nav>
${sections.join('\n')}
</body></html>
`;
}

function subtitle({ head }: Run): string {
  const { machine, settings } = head;
  const minutes = head.time.slice(0, 16).replace('T', ' ');
  const about = `${settings.rounds} ${settings.rounds === 1 ? 'round' : 'rounds'} of ${settings.seconds} s`;
  return `${minutes} UTC · ${machine['processor']} · ${machine['memory']} · Node ${machine['node']} · ${settings.quick ? 'quick run, ' : ''}${about}, ${Math.ceil(head.elapsedSeconds / 60)} minutes in all`;
}

function summary(list: readonly Answer[], { results }: Run): string {
  const count = (...outcomes: Answer['outcome'][]): number =>
    list.filter(({ outcome }) => outcomes.includes(outcome)).length;
  const tile = (kind: string, value: string, text: string): string =>
    `<div class="tile ${kind}"><b>${escapeText(value)}</b>${escapeText(text)}</div>`;
  const verdicts = [
    tile('good', `${count('goal')} of ${list.length}`, 'goals met'),
    tile('fair', String(count('first')), 'first mark met, goal not'),
    tile(count('missed') > 0 ? 'bad' : '', String(count('missed')), 'missed'),
    tile('', String(count('not measured')), 'not measured'),
  ];
  const tiles = [
    ...(list.length === 0 ? [] : verdicts),
    results.problems.length === 0
      ? tile('good', 'equal', 'all copies, byte by byte')
      : tile('bad', String(results.problems.length), 'problems of this run'),
  ];
  return `<div class="summary">${tiles.join('')}</div>`;
}

function warnings({ head, results }: Run): string {
  const texts: string[] = [];
  if (head.settings.rounds === 1 && results.jobNames.length > 0) {
    texts.push(
      'Each job ran once: how far repetitions lie apart is not known. Decide by a full run.',
    );
  }
  const noisy = results.jobNames.filter(
    (job) => job !== resyncJob && results.spread(job, casemateName, 'rate') > noisySpread,
  );
  if (noisy.length > 0) {
    const much = Math.round(noisySpread * 100);
    texts.push(
      `Casemate’s repetitions lie more than ${much} % apart in: ${noisy.join(', ')}. Something else was busy, or the runs are too short.`,
    );
  }
  const load = Number(head.machine['load']?.split(' ')[2]);
  const processors = Number.parseInt(head.machine['processor'] ?? '1', 10);
  if (load > busyLoad * processors) {
    texts.push(`The machine was busy before the run began (load over 15 minutes ${load}).`);
  }
  const problems = results.problems.map(
    (text) => `<div class="warning bad">${escapeText(text)}</div>`,
  );
  return [
    ...problems,
    ...texts.map((text) => `<div class="warning">${escapeText(text)}</div>`),
  ].join('\n');
}

const badges: Readonly<Record<Answer['outcome'], string>> = {
  goal: 'goal met',
  first: 'first mark met',
  missed: 'missed',
  'not measured': 'not measured',
};

function verdictSection(list: readonly Answer[]): string {
  if (list.length === 0) return '';
  const rows = list.map(({ asked, measured, range, outcome }) => {
    const sign = asked.comparison === 'at least' ? '≥' : '≤';
    const mark = (value: number | undefined): string =>
      value === undefined ? '–' : `${sign} ${value}`;
    const between =
      range === undefined
        ? ''
        : `<small>${formatNumber(range[0])} – ${formatNumber(range[1])}</small>`;
    return [
      {
        markup: `${escapeText(asked.question)}<small>${escapeText(`${asked.job}: ${asked.formula}`)}</small>`,
      },
      { markup: `<b>${escapeText(formatNumber(measured))}</b>${between}` },
      mark(asked.first),
      mark(asked.goal),
      {
        markup: `<span class="badge ${outcome === 'not measured' ? '' : outcome}">${badges[outcome]}</span>`,
      },
    ];
  });
  const intro = `<p>Every write of Casemate is on stable storage on both sites, with checksums, before its client hears that it is done; none of these figures was had by promising less. Figures are medians; below them, the range over the repetitions. Ratios compare runs that took turns within this one run.</p>`;
  const columns = [
    { title: 'question' },
    { title: 'measured', numeric: true },
    { title: 'first mark', numeric: true },
    { title: 'goal', numeric: true },
    { title: 'verdict' },
  ];
  return section('verdict', 'The verdict', intro + table(columns, rows));
}

function methodSection({ head, results }: Run): string {
  const absent =
    results.jobNames.length === 0
      ? ''
      : results.absent.length === 0
        ? '<p>Everything that can be compared with was there.</p>'
        : `<h3>Absent on this machine</h3>${table(
            [{ title: 'target' }, { title: 'why' }],
            results.absent.map(({ name, reason }) => [name, reason]),
          )}`;
  const volumeMiB = formatNumber(head.settings.volumeBytes / 2 ** 20);
  const machine = Object.entries(head.machine).map(([name, value]) => [name, value]);
  return section(
    'method',
    'How it was measured, and what distorts',
    `<p>fio’s NBD engine, over a Unix socket where nothing else is said, on a volume of ${volumeMiB}
MiB filled with random data. Both sites, the load and the other programs share one machine, its
processors and its disk: the two syncs of a write compete here, and do not on two real sites; a
real link adds its round trip. Targets take turns in every round; before each run the disk is
left to settle.</p>
<p>Bytes written to the disk are those its driver counts between two syncs, other programs’
included. “Physical limit” is two processes that write
and sync two preallocated files at the same time, and one loopback round trip: no format, no
checksum, no client.</p>
${absent}<h3>Machine</h3>${table([{ title: 'what' }, { title: 'which' }], machine)}`,
  );
}
