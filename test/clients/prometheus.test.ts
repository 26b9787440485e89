/** A real Prometheus scrapes over HTTPS with a token, as the example for it says. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { TlsCredentials } from '../../daemon/system-tls.ts';
import { makePki, tlsFiles } from '../support/certificates.ts';
import { pollUntil } from '../support/poll.ts';
import { TestPrometheus } from '../support/prometheus.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { sampleServer, sampleToken, sampleTokens } from '../unit/api-sample-server.ts';
import { groupStatus, SampleSite } from '../unit/api-sample-site.ts';

const examplePath = new URL('../../../deploy/prometheus/prometheus.yml', import.meta.url);

t.test(
  'the example for Prometheus scrapes a site with a token, and no longer without',
  async (t) => {
    const directory = scratchDirectory(t);
    await makePki(join(directory, 'pki'), 'lux', { 'lux-1': 'site' });
    const tokens = sampleTokens({ prometheus: 'read' });
    const { secureUrl, access } = await sampleServer(t, {
      directory,
      tokens,
      site: new SampleSite([groupStatus('vm')]),
      credentials: new TlsCredentials(tlsFiles(join(directory, 'pki'), 'lux-1'), []),
      metricsText: '# TYPE casemate_group_serving gauge\ncasemate_group_serving{group="vm"} 1\n',
    });
    const tokenPath = join(directory, 'casemate.token');
    writeFileSync(tokenPath, `${sampleToken('prometheus')}\n`);
    chmodSync(tokenPath, 0o600);
    const example = readFileSync(fileURLToPath(examplePath), 'utf8');
    const scrape = example
      .slice(example.indexOf('scrape_configs:'), example.indexOf('rule_files:'))
      .replace('/etc/prometheus/casemate.token', tokenPath)
      .replace('/etc/prometheus/casemate-authority.pem', join(directory, 'pki/authority.pem'))
      .replace(/( +- )lux-1\.example\.org:9617\n(?: +- .*\n)+/, `$1${new URL(secureUrl).host}\n`);
    const prometheus = await TestPrometheus.start(t, {
      directory,
      targets: scrape,
      rules: 'groups: []\n',
    });
    await pollUntil('it is scraped', async () => {
      return (await prometheus.query('casemate_group_serving == 1')).length === 1;
    });
    t.equal(access.refused['wrong-token'], 0);
    access.take(sampleTokens({ ops: 'operate' }));
    await pollUntil('it is down without its token', async () => {
      return (await prometheus.query('up{job="casemate"} == 0')).length === 1;
    });
    t.ok(access.refused['wrong-token'] > 0, 'and that is counted');
  },
);
