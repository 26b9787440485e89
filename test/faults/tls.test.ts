/** A real pair with a witness over TLS: it works whole, and certificates change while it runs. */
import { copyFileSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { issueExpired, makePki, pki, tlsFiles, tlsLines } from '../support/certificates.ts';
import { TestPair } from '../support/pair.ts';
import { pollUntil } from '../support/poll.ts';
import { runOk } from '../support/run-command.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';

t.test(
  'a pair and its witness talk over TLS only, and take new certificates by a reload',
  async (t) => {
    const directory = scratchDirectory(t);
    const authority = join(directory, 'pki');
    await makePki(authority, 'test', { 'lux-1': 'site', 'lux-2': 'site', 'lux-w': 'witness' });
    /** As an operator would: each host has its own certificate and the authority's. */
    const hostFiles = (name: string) => tlsFiles(join(directory, `pki-${name}`), 'own');
    const install = (name: string, from = name): void => {
      const files = hostFiles(name);
      mkdirSync(join(directory, `pki-${name}`), { recursive: true });
      copyFileSync(tlsFiles(authority, from).certificate, files.certificate);
      copyFileSync(tlsFiles(authority, from).key, files.key);
      copyFileSync(join(authority, 'authority.pem'), files.authority);
    };
    for (const name of ['lux-1', 'lux-2', 'lux-w']) install(name);
    const pair = await TestPair.make({
      directory,
      witness: true,
      tls: (name) => tlsLines(hostFiles(name)),
    });
    t.teardown(() => pair.stop());
    const { a, b } = pair;
    await pair.start();
    await a.cli('volume', 'create', 'vm', '--size', '64MiB');
    await pair.guarded('vm');
    await runOk('qemu-io', ['-f', 'raw', '-c', 'write -P 7 1M 8M', '-c', 'flush', a.unixUri('vm')]);
    // A standby passes reads on to the primary: over TLS too.
    await runOk('qemu-io', ['-f', 'raw', '-c', 'read -P 7 1M 8M', b.unixUri('vm')]);
    await pair.settled('vm');
    t.equal(statSync(a.socketPath).mode & 0o777, 0o660);
    t.equal(statSync(a.dataDirectory).mode & 0o777, 0o700);
    const entries = readdirSync(a.dataDirectory, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    t.ok(files.length > 4);
    for (const { parentPath, name } of files) {
      t.equal(statSync(join(parentPath, name)).mode & 0o777, 0o600, `${name} is its owner's only`);
    }

    const ends = async (): Promise<number> => {
      const status = await a.status();
      return (
        status.certificates?.find(({ certificate }) => certificate === 'own')?.expiresAtMs ?? 0
      );
    };
    const before = await ends();
    await pki('renew', 'lux-1', '--dir', authority, '--days', '20');
    install('lux-1');
    await a.signal('SIGHUP');
    await pollUntil('the new certificate is in use', async () => (await ends()) < before);
    t.match(await (await fetch(`${a.apiUrl}/metrics`)).text(), /_expiry_timestamp_seconds\{.*own/);
    t.match((await a.status()).problems, [{ code: 'certificate-ends' }], 'its end is near');

    await issueExpired(authority, 'ended', { cluster: 'test', role: 'site', name: 'lux-2' });
    await b.stop();
    install('lux-2', 'ended');
    await b.start();
    await pollUntil('lux-2 says that its certificate has ended', async () => {
      const { problems, peer } = await b.status();
      return !peer.connected && problems.some(({ text }) => text.includes('has ended'));
    });
    await a.until('vm', 'goes on without it', ({ inSyncSites }) => inSyncSites.length === 1);
    install('lux-2');
    await b.signal('SIGHUP');
    await pair.connected();
    await pair.guarded('vm');
  },
);
