/**
 * Shows what /v1/overview says, every two seconds. The words come from the daemon; this script
 * only places them, draws the plots, and tells when the daemon does not answer. Text is put in as
 * text, never as markup.
 */
import { History, Plot } from './plot.js';

const intervalMs = 2000;
const patienceMs = 5000;

const levelWords = { well: 'All is well', warning: 'Warning', error: 'Problem' };
const byId = (id) => document.getElementById(id);

/** The daemon's last answer and when it came, by this machine's monotonic clock. */
let shown;
let heardAtMs;
/** Since when there is no answer, and why. */
let silence;
/** Until the tab is closed: no other tab, and nothing on disk, has it. */
let token = sessionStorage.getItem('casemate-token') ?? '';
/** Nothing is asked until a person has given one: a daemon counts what it refuses. */
let tokenIsMissing = false;
let wrongTokens = 0;
let announced = '';

// --- small helpers

function element(name, { text, role, scope, level, className, label } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (role !== undefined) made.setAttribute('role', role);
  if (scope !== undefined) made.setAttribute('scope', scope);
  if (level !== undefined) made.dataset.level = level;
  if (className !== undefined) made.className = className;
  if (label !== undefined) made.dataset.name = label;
  made.append(...children);
  return made;
}

const row = (...cells) => element('tr', { role: 'row' }, ...cells);
const cell = (options, ...children) => element('td', { role: 'cell', ...options }, ...children);
const rowHead = (text) => element('th', { role: 'rowheader', scope: 'row', text });
const mark = (level, text) => element('span', { className: 'mark', level, text });

/** Leaves what is there alone if it is the same: a selection, or a screen reader's place, stays. */
function fill(id, parts) {
  const place = byId(id);
  const next = document.createElement(place.tagName);
  next.append(...parts);
  if (next.innerHTML !== place.innerHTML) place.replaceChildren(...next.childNodes);
}

function setText(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}

function durationText(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function bytesText(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? Number(value.toFixed(1)) : Math.round(value)} ${units[unit]}/s`;
}

function millisecondsText(ms) {
  if (ms === 0) return '0';
  return `${ms < 10 ? Number(ms.toPrecision(2)) : Math.round(ms)} ms`;
}

const utc = (ms) => new Date(ms).toISOString().slice(0, 19).replace('T', ' ');

// --- the first line

function showHeadline({ level, word, text, advice, command }) {
  byId('headline').dataset.level = level;
  setText('headline-level', word);
  setText('headline-text', `${text}.`);
  setText('headline-advice', advice);
  byId('headline-command').hidden = command === undefined;
  setText('headline-command-text', command ?? '');
  document.title = `${word}: ${shown?.site ?? location.host} – Casemate`;
}

/** What is read aloud: once for each change of what is wrong, not for each second it lasts. */
function announce(key, text) {
  if (key === announced) return;
  announced = key;
  byId('announcement').textContent = text;
}

/** Words without their numbers: "for 4.1 s" becomes "for 6.1 s" without being news. */
const withoutNumbers = (text) => text.replaceAll(/[0-9]+(?:\.[0-9]+)?/g, '#');

// --- the parts

function problemItem({ level, text, advice, command }) {
  const item = element('li', {}, mark(level, `${levelWords[level]}: `), `${text}. ${advice}`);
  if (command !== undefined) item.append(' Safe to run: ', element('code', { text: command }));
  return item;
}

function showProblems(problems) {
  // The worst one is the first line already.
  const others = problems.slice(1);
  byId('more').hidden = others.length === 0;
  fill('problems', others.map(problemItem));
}

function showMembers({ members, log }) {
  const rows = [...members, { what: 'log here', ...log }].map(({ what, level, text }) =>
    row(rowHead(what), cell({}, level === 'well' ? text : mark(level, text))),
  );
  fill('members', rows);
}

function resyncPart({ doneBytes, totalBytes, text, inGroup }) {
  const bar = element('progress');
  bar.setAttribute('max', String(Math.max(1, totalBytes)));
  bar.setAttribute('value', String(doneBytes));
  bar.setAttribute('aria-label', `resync: ${text}`);
  const whole = inGroup ? ' (all volumes of its group together)' : '';
  return [bar, element('span', { text: `resync: ${text}${whole}` })];
}

function volumeRow({ name, level, role, state, inSync, text, clients, size, resync }) {
  const stateCell = cell({}, mark(level, state));
  if (level !== 'well') {
    stateCell.append(element('span', { className: 'sentence', text }));
  }
  if (resync !== undefined) stateCell.append(...resyncPart(resync));
  return row(
    rowHead(name),
    stateCell,
    cell({ text: role, label: 'role here' }),
    cell({ text: inSync, label: 'in sync' }),
    cell({ text: size, label: 'size' }),
    cell({ text: String(clients), className: 'number', label: 'clients' }),
  );
}

function showVolumes(volumes) {
  byId('no-volumes').hidden = volumes.length > 0;
  const unwell = volumes.filter(({ level }) => level !== 'well').length;
  const count = volumes.length === 1 ? '1 volume' : `${volumes.length} volumes`;
  const problems = unwell === 0 ? '' : `, ${unwell} with problems, first`;
  fill('volumes-title', ['Volumes ', element('small', { text: count + problems })]);
  fill('volumes', volumes.map(volumeRow));
}

const eventLevels = { info: 'well', warn: 'warning', error: 'error' };
const eventWords = { info: 'info', warn: 'Warning', error: 'Error' };

function showEvents(events) {
  const rows = events.map(({ atMs, level, group, text }) => {
    const time = element('time', { text: utc(atMs) });
    time.dateTime = new Date(atMs).toISOString();
    const word = eventWords[level] ?? level;
    return row(
      cell({}, time),
      cell({}, level === 'info' ? word : mark(eventLevels[level] ?? 'warning', word)),
      cell({ text: group }),
      cell({ text }),
    );
  });
  fill('events', rows);
}

// --- plots: what was asked for between two answers

const throughput = new Plot({
  title: 'Throughput',
  isBytes: true,
  format: bytesText,
  lines: [
    { key: 'writeBytes', name: 'written', class: 'write' },
    { key: 'readBytes', name: 'read', class: 'read' },
  ],
});
const latency = new Plot({
  title: 'Latency',
  format: millisecondsText,
  lines: [
    { key: 'writeMs', name: 'write, mean', class: 'write' },
    { key: 'slowMs', name: 'write, 99 of 100 within', class: 'slow' },
    { key: 'readMs', name: 'read, mean', class: 'read' },
  ],
});
byId('plots').append(throughput.element, latency.element);
const past = new History();

/** The bound that 99 of 100 of the requests between two answers were within. */
function percentile({ boundsMs }, before, after) {
  const counts = after.counts.map((count, bucket) => count - before.counts[bucket]);
  const total = counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (const [bucket, count] of counts.entries()) {
    seen += count;
    if (total > 0 && seen >= 0.99 * total) return boundsMs[bucket] ?? boundsMs.at(-1);
  }
  return undefined;
}

function between(before, after) {
  const seconds = (after.nowMs - before.nowMs) / 1000;
  const restarted = before.startedAtMs !== after.startedAtMs || seconds <= 0;
  if (restarted) return {};
  const rates = {};
  for (const kind of ['read', 'write']) {
    const [from, to] = [before.figures[kind], after.figures[kind]];
    const requests = to.requests - from.requests;
    rates[`${kind}Bytes`] = (to.bytes - from.bytes) / seconds;
    rates[`${kind}Ms`] = requests === 0 ? undefined : (to.sumMs - from.sumMs) / requests;
  }
  rates.slowMs = percentile(after.figures, before.figures.write, after.figures.write);
  return rates;
}

function drawPlots() {
  throughput.draw(past, performance.now());
  latency.draw(past, performance.now());
}

// --- asking

function show(next) {
  if (shown !== undefined && shown.version !== next.version) {
    // The daemon was upgraded: its page may have changed with it.
    location.reload();
    return;
  }
  const gap = shown === undefined || silence !== undefined;
  past.add(performance.now(), gap ? {} : between(shown, next));
  shown = next;
  heardAtMs = performance.now();
  silence = undefined;
  byId('data').hidden = false;
  byId('data').classList.remove('stale');
  // Whoever has just given a token goes on reading where its answer is.
  if (byId('token').contains(document.activeElement)) byId('headline-text').focus();
  byId('token').hidden = true;
  setText('site', next.site);
  setText('cluster', `of ${next.cluster}, Casemate ${next.version}`);
  const { level, text } = next.headline;
  showHeadline({ word: levelWords[level], ...next.headline });
  announce(withoutNumbers(text), `${levelWords[level]}. ${text}. ${next.headline.advice}`);
  showProblems(next.problems);
  showMembers(next);
  showVolumes(next.volumes);
  showEvents(next.events);
  drawPlots();
  showAge();
}

function showSilence() {
  const site = shown?.site ?? 'this site';
  const forText = durationText(performance.now() - silence.sinceMs);
  const then = shown === undefined ? '' : '; everything below is as it was before';
  byId('data').classList.add('stale');
  showHeadline({
    level: 'error',
    word: 'No answer',
    text: `The daemon of ${site} does not answer for ${forText} (${silence.why})${then}`,
    advice:
      `On the machine of ${site}: systemctl status casemate, and journalctl -u casemate -n 50. ` +
      "Whether clients are served meanwhile, the other site's page or casemate status there says.",
    command: undefined,
  });
  announce('silence', `The daemon of ${site} does not answer. What is shown is old.`);
}

function askForToken() {
  const wasWrong = token !== '';
  wrongTokens += wasWrong ? 1 : 0;
  tokenIsMissing = true;
  token = '';
  sessionStorage.removeItem('casemate-token');
  silence = undefined;
  byId('data').hidden = true;
  byId('token').hidden = false;
  const input = byId('token-input');
  input.setAttribute('aria-invalid', String(wasWrong));
  if (document.activeElement === document.body) input.focus();
  const text = wasWrong
    ? 'The daemon does not know this token'
    : 'The daemon shows its state only to those who have a token';
  showHeadline({
    level: 'warning',
    word: 'Token needed',
    text,
    advice: 'It is kept here until this tab is closed. Whoever runs the site can make one.',
    command: 'casemate token create NAME --role read',
  });
  showAge();
  announce(`token ${wrongTokens}`, `A token is needed. ${text}.`);
}

function showAge() {
  if (tokenIsMissing) setText('age', '');
  if (tokenIsMissing || heardAtMs === undefined) return;
  const age = performance.now() - heardAtMs;
  const old = silence === undefined ? '' : ', OLD';
  setText('age', `as of ${utc(shown.nowMs)} UTC, ${durationText(age)} ago${old}`);
}

async function ask() {
  const sent = token;
  const headers = sent === '' ? {} : { authorization: `Bearer ${sent}` };
  const signal = AbortSignal.timeout(patienceMs);
  const answer = await fetch('v1/overview', { headers, signal, cache: 'no-store' });
  if (answer.status === 401) {
    if (sent === token) askForToken();
    return;
  }
  if (!answer.ok) throw new Error(`it answers with status ${answer.status}`);
  show(await answer.json());
}

function whyOf(error) {
  if (error.name === 'TimeoutError') return `nothing within ${patienceMs / 1000} s`;
  return error.name === 'TypeError' ? 'no connection' : error.message;
}

async function askForever() {
  const startedMs = performance.now();
  try {
    if (!tokenIsMissing) await ask();
  } catch (error) {
    silence = { sinceMs: silence?.sinceMs ?? heardAtMs ?? startedMs, why: whyOf(error) };
    past.add(performance.now(), {});
    drawPlots();
    showSilence();
  }
  const tookMs = performance.now() - startedMs;
  setTimeout(askForever, Math.max(0, intervalMs - tookMs));
}

byId('token').addEventListener('submit', (event) => {
  event.preventDefault();
  token = byId('token-input').value.trim();
  byId('token-input').value = '';
  // What can be in no header is no token.
  if (!/^[!-~]+$/.test(token)) return askForToken();
  sessionStorage.setItem('casemate-token', token);
  tokenIsMissing = false;
  // If that gets no answer, the next look says so.
  ask().catch(() => undefined);
});
setInterval(() => {
  showAge();
  if (silence !== undefined) showSilence();
}, 1000);
void askForever();
