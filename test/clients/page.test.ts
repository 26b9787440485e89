/**
 * The page in a real browser. While a real pair loses its witness and a site and resyncs, and while
 * the page can't reach its daemon: what it says at each step, to the eye and to a screen reader.
 * Where it takes a token to see anything: by keys alone.
 */
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import t from 'tap';
import { TlsCredentials } from '../../daemon/system-tls.ts';
import { makePki, tlsFiles } from '../support/certificates.ts';
import { TestPair } from '../support/pair.ts';
import { run } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { sampleServer, sampleToken, sampleTokens } from '../unit/api-sample-server.ts';
import { groupStatus, SampleSite } from '../unit/api-sample-site.ts';

const tables = {
  log: [
    'sizeBytes = "64MiB"',
    'segmentBytes = "16MiB"',
    'checkpointBytes = "16MiB"',
    'checkpointMs = 500',
  ],
  // Slow enough for the page to show a resync that is under way.
  replication: ['inFlightBytesMax = "16MiB"'],
  resync: ['rateBytesMin = "40MiB"', 'rateBytesMax = "40MiB"'],
  volumes: ['applyBacklogBytesMax = "16MiB"'],
};

async function browserFor(): Promise<Browser> {
  return await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
}

/** Resolves when the first line has this text in it; throws when it never does. */
async function headline(page: Page, level: string, text: string): Promise<void> {
  const wanted = page.locator('#headline').filter({ hasText: text });
  await wanted.locator('.level', { hasText: level }).waitFor({ timeout: 30_000 });
}

/** The least contrast between a text that is shown and what is behind it, by WCAG 2's formula. */
const leastContrast = `(() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (channel) => {
    const part = channel / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  const luminance = ([red, green, blue]) =>
    0.2126 * light(red) + 0.7152 * light(green) + 0.0722 * light(blue);
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] !== 0) return colour;
    }
    throw new Error('nothing is painted behind ' + element.tagName);
  };
  let least = 21;
  for (const element of document.querySelectorAll('main *, header *, footer *')) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    if (!texts.some((node) => node.data.trim() !== '')) continue;
    if (element instanceof SVGElement || element.checkVisibility() === false) continue;
    const both = [parse(getComputedStyle(element).color), behind(element)].map(luminance);
    least = Math.min(least, (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05));
  }
  return least;
})()`;

async function outrunTheLog(pair: TestPair): Promise<void> {
  const commands: string[] = [];
  for (let at = 0; at < 96; at += 8) commands.push('-c', `write -P ${1 + at / 8} ${at}M 8M`);
  const { code, stderr } = await run('qemu-io', [
    ...['-f', 'raw', ...commands],
    pair.a.unixUri('disk-1'),
  ]);
  if (code !== 0) throw new Error(stderr);
}

t.test('the page tells an incident from its start to its end', async (t) => {
  const pair = await TestPair.make({ directory: scratchDirectory(t), witness: true, tables });
  const browser = await browserFor();
  t.teardown(async () => {
    await browser.close();
    await pair.stop();
  });
  await pair.start();
  await pair.a.cli('volume', 'create', 'disk-1', '--size', '192MiB');
  await pair.guarded('disk-1');

  const page = await browser.newPage({ colorScheme: 'light' });
  const asked = new Set<string>();
  const complaints: string[] = [];
  page.on('request', (request) => asked.add(new URL(request.url()).origin));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  const answer = await page.goto(`${pair.a.apiUrl}/`);

  await headline(page, 'All is well', 'in sync on lux-1 and lux-2');
  const whole = await page.locator('body').ariaSnapshot();
  for (const part of ['lux-2 at 127', 'lux-w at 127', 'row "disk-1', 'img "Throughput', 'Events']) {
    t.ok(whole.includes(part), `a screen reader finds ${part}`);
  }
  t.match(answer?.headers()['content-security-policy'], "default-src 'none'; script-src 'self'");
  t.strictSame([...asked], [pair.a.apiUrl, 'null'].slice(0, asked.size), 'nothing from elsewhere');
  t.strictSame(complaints, [], 'the browser has nothing to say against it');

  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  t.equal(await page.evaluate('document.activeElement.id'), 'volumes-title', 'skipped by keys');

  await pair.witness.signal('SIGKILL');
  await headline(page, 'Warning', 'the witness, lux-w, is not connected');
  await pair.b.signal('SIGKILL');
  await headline(page, 'Problem', 'disk-1 is not served');
  const announcement = page.locator('#announcement', { hasText: 'disk-1 is not served' });
  await announcement.waitFor({ state: 'attached' });
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    const least = Number(await page.evaluate(leastContrast));
    t.ok(least >= 4.5, `text can be read when ${colorScheme}: ${least.toFixed(1)}`);
  }

  await pair.witness.start();
  await headline(page, 'Warning', 'lux-2, is not connected');
  const written = page.locator('.key', { hasText: /written: [0-9.]+ [KM]iB/ }).waitFor();
  await Promise.all([written, outrunTheLog(pair)]);
  await pair.b.start();
  await page.locator('.volumes progress').waitFor();
  await page.getByText(/resync: [0-9]+ % of/).waitFor();
  await headline(page, 'All is well', 'in sync on lux-1 and lux-2');
  t.equal(await page.locator('progress').count(), 0, 'the resync is over');
  t.match(await page.locator('#events').innerText(), /lux-2 is connected/);

  t.strictSame(complaints, [], 'until now all was answered');
  await page.context().setOffline(true);
  await headline(page, 'No answer', 'The daemon of lux-1 does not answer');
  t.ok(await page.locator('#data.stale').isVisible(), 'what was known is shown as old');
  await page.context().setOffline(false);
  await page.locator('#data:not(.stale)').waitFor();
});

t.test('the page asks for a token, takes it by keys, and keeps it for its tab only', async (t) => {
  const directory = scratchDirectory(t);
  await makePki(join(directory, 'pki'), 'lux', { 'lux-1': 'site' });
  const { secureUrl, access } = await sampleServer(t, {
    directory,
    site: new SampleSite([groupStatus('vm')]),
    tokens: sampleTokens({ grafana: 'read' }),
    credentials: new TlsCredentials(tlsFiles(join(directory, 'pki'), 'lux-1'), []),
  });
  const browser = await browserFor();
  t.teardown(() => browser.close());
  const context = await browser.newContext({ ignoreHTTPSErrors: true, colorScheme: 'light' });
  const page = await context.newPage();
  const urls: string[] = [];
  page.on('request', (request) => urls.push(request.url()));
  await page.goto(`${secureUrl}/`);

  await headline(page, 'Token needed', 'only to those who have a token');
  const field = page.getByLabel('Token (the role read is enough)');
  await page.locator('#token-input:focus').waitFor();
  t.equal(await field.getAttribute('aria-invalid'), 'false');
  t.match(await page.locator('main').ariaSnapshot(), /textbox "Token .*\n.*button "Show"/);
  await page
    .locator('#announcement', { hasText: 'A token is needed' })
    .waitFor({ state: 'attached' });
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    const least = Number(await page.evaluate(leastContrast));
    t.ok(least >= 4.5, `text can be read when ${colorScheme}: ${least.toFixed(1)}`);
  }
  t.equal(access.refused['no-token'], 1, 'it asks once, and waits');

  for (const wrong of [sampleToken('stranger'), 'ключ']) {
    await page.keyboard.insertText(wrong);
    await page.keyboard.press('Enter');
    await headline(page, 'Token needed', 'does not know this token');
    await page.locator('#token-input[aria-invalid=true]:focus').waitFor();
    t.equal(await field.inputValue(), '', 'the next one can be typed at once');
  }
  t.equal(access.refused['wrong-token'], 1);
  await page.keyboard.insertText(sampleToken('grafana'));
  await page.keyboard.press('Enter');
  await headline(page, 'All is well', 'in sync on lux-1 and lux-2');
  await page.locator('#headline-text:focus').waitFor();
  t.notOk(await field.isVisible());
  await page.reload();
  await headline(page, 'All is well', 'in sync on lux-1 and lux-2');
  t.notMatch(urls.join(' '), 'casemate_', 'it is in no address');
  t.equal(await page.evaluate('localStorage.length + document.cookie.length'), 0);

  const other = await context.newPage();
  await other.goto(`${secureUrl}/`);
  await headline(other, 'Token needed', 'only to those who have a token');
  access.take(sampleTokens({ ops: 'operate' }));
  await headline(page, 'Token needed', 'does not know this token');
  t.notOk(await page.locator('#data').isVisible(), 'nothing old is left to be read');
});
