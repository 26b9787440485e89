/**
 * A group whose requests are held, for it waits for the lost peer, leaves the memory of the site to
 * the groups that go on (I9): its clients send all they can, and another volume is served. Two
 * sites in one process, with a real NBD server at one of them.
 */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { NbdServer } from '../../daemon/nbd/server.ts';
import { encodeRequest, RawClient } from '../support/nbd-raw-client.ts';
import { pollUntil } from '../support/poll.ts';
import { scratchDirectory } from '../support/scratch-directory.ts';
import { type SpoiledSite, spoiledPair } from '../support/site-pair.ts';

const read = 0;
const write = 1;
const mebibyte = 1024 * 1024;

/** Serves the site's volumes with the site's limit on memory; gives how to attach to one. */
async function serve(t: Test, { site }: SpoiledSite) {
  const socketPath = join(scratchDirectory(t), 'nbd.sock');
  const server = new NbdServer({
    exports: site.groups,
    limits: { bytesInFlightTotalMax: site.config.volumes.memoryBytesMax },
    nowMs: () => site.clock.nowMs(),
  });
  await server.listenUnix(socketPath);
  const clients: RawClient[] = [];
  t.teardown(async () => {
    for (const client of clients) client.destroy();
    await server.close({ graceMs: 0 });
  });
  const attach = async (volume: string): Promise<RawClient> => {
    const client = await RawClient.connect(socketPath);
    clients.push(client);
    await client.go(volume);
    return client;
  };
  return { server, attach };
}

for (const type of [write, read]) {
  const what = type === write ? 'writes' : 'reads';
  t.test(`clients send all the ${what} they can to a held group: others are served`, async (t) => {
    const { a, b } = await spoiledPair(t, { onPeerLoss: 'suspend' });
    await a.site.createVolume({ name: 'other', sizeBytes: mebibyte, onPeerLoss: 'preferred' });
    await pollUntil('both are in sync', async () =>
      (await a.site.status()).groups.every(({ serves, inSync }) => serves && inSync),
    );
    const { server, attach } = await serve(t, a);
    const other = await attach('other');
    await b.stop();
    await pollUntil('one goes on, one is held', async () => {
      const { groups } = await a.site.status();
      const served = groups.filter(({ serves }) => serves);
      return served.length === 1 && served[0]?.volumes[0]?.name === 'other';
    });

    // More than the memory that all clients of the site have.
    const memoryBytes = a.site.config.volumes.memoryBytesMax;
    const request =
      type === write
        ? encodeRequest({ type, payload: Buffer.alloc(mebibyte, 1) })
        : encodeRequest({ type, length: mebibyte });
    for (let sentBytes = 0; sentBytes < 2 * memoryBytes; ) {
      const client = await attach('blocks');
      for (let count = 0; count < 32; count += 1, sentBytes += mebibyte) client.send(request);
    }
    await pollUntil('the sockets of all of them are not read', () => {
      return server.stats().slowedDown >= (2 * memoryBytes) / (32 * mebibyte);
    });
    let answered = 0;
    const written = (async () => {
      for (; answered < 20; answered += 1) {
        const { error } = await other.ask({ type: write, payload: Buffer.alloc(65_536, 2) });
        if (error !== 0) throw new Error(`error ${error}`);
      }
    })();
    await Promise.race([written, pollUntil('the other volume is served', () => answered === 20)]);
    t.ok(server.stats().bytesInFlight < memoryBytes / 2, 'the most of the memory is left');
    t.ok(a.site.memory.usedBytes < memoryBytes / 2, 'also in what the site counts itself');

    await b.start();
    await a.until('serves again', ({ serves }) => serves);
    await pollUntil('what was held is done', () => a.site.memory.usedBytes === 0);
  });
}
