/** The first line of a site: the worst problem first, each once, with what to do. */
import t from 'tap';
import { allAdvice, headline, someNames } from '../../daemon/headline.ts';
import { groupStatus, SampleSite, suspendedGroup } from './api-sample-site.ts';

t.test('a site without problems says so', async (t) => {
  const status = await new SampleSite([groupStatus('vm')]).status();
  const { level, text, advice } = headline(status);
  t.equal(level, 'well');
  t.match(text, 'All is well: the volume is served and in sync');
  t.equal(advice, 'Nothing to do.');
  t.strictSame(allAdvice(status), []);
});

t.test('volumes that wait for the same are one problem, and come before warnings', async (t) => {
  const status = await new SampleSite([suspendedGroup('one'), suspendedGroup('two')]).status();
  const { level, text, advice } = headline(status);
  t.equal(level, 'error');
  t.match(text, /are not served: .*; 0 of 2 volumes are served$/);
  t.match(advice, /^I\/O resumes /);
  const levels = allAdvice(status).map((each) => each.level);
  t.equal(levels.filter((each) => each === 'error').length, 1);
  t.strictSame(levels, [...levels].sort(), 'errors first');
});

t.test('a log that failed here is named before the volumes that wait for it', async (t) => {
  const status = await new SampleSite([suspendedGroup('one')]).status();
  const failed = { ...status, log: { ...status.log, failed: 'EIO' } };
  t.match(headline(failed).advice, /disk/);
});

t.test('many names are shortened', async (t) => {
  t.equal(someNames(['a']), 'a');
  t.equal(someNames(['a', 'b']), 'a and b');
  t.equal(someNames(['a', 'b', 'c', 'd']), 'a, b and 2 more');
});
