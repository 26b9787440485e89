/** The delaying proxy of the benchmarks: order, time and bounds of what is under way. */
import { createHash, randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import t from 'tap';
import { DelayLine } from '../../bench/proxy/delay-line.ts';
import { DelayProxy } from '../../bench/proxy/delay-proxy.ts';
import { SeededRandom } from '../simulation/seeded-random.ts';
import { freePorts } from '../support/pair.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

t.test('nothing leaves before its delay is over, and then all that is due does', async (t) => {
  const line = new DelayLine(1000);
  line.push(bytes('a'), 10, 5);
  line.push(bytes('b'), 11, 5);
  t.equal(line.nextDueMs, 15);
  t.same(line.take(14.9), []);
  t.same(line.take(15).map(String), ['a']);
  t.equal(line.nextDueMs, 16);
  t.same(line.take(100).map(String), ['b']);
  t.equal(line.nextDueMs, undefined);
});

t.test('a delay that is shortened lets nothing overtake', async (t) => {
  const line = new DelayLine(1000);
  line.push(bytes('slow'), 0, 50);
  line.push(bytes('fast'), 1, 0);
  t.same(line.take(49), [], 'the later one waits for the earlier one');
  t.same(line.take(50).map(String), ['slow', 'fast']);
});

t.test('a line is full at its limit until something has left', async (t) => {
  const line = new DelayLine(10);
  line.push(Buffer.alloc(9), 0, 1);
  t.equal(line.full, false);
  line.push(Buffer.alloc(1), 0, 1);
  t.equal(line.full, true);
  t.equal(line.bytes, 10);
  line.take(1);
  t.equal(line.full, false);
  t.equal(line.bytes, 0);
});

for (let seed = 1; seed <= 20; seed += 1) {
  t.test(`whatever the delays, bytes come out as they went in, seed ${seed}`, async (t) => {
    const random = new SeededRandom(seed);
    const line = new DelayLine(1e6);
    const sent: string[] = [];
    const received: string[] = [];
    let nowMs = 0;
    for (let count = 0; count < 5000; count += 1) {
      nowMs += random.below(3);
      if (random.below(2) === 0) {
        sent.push(String(count));
        line.push(bytes(String(count)), nowMs, random.below(40));
      } else {
        received.push(...line.take(nowMs).map(String));
      }
    }
    received.push(...line.take(Number.POSITIVE_INFINITY).map(String));
    t.same(received, sent);
  });
}

t.test('a stream through the proxy arrives whole, whatever the distance is set to', async (t) => {
  const [listenPort, targetPort] = await freePorts(2);
  if (listenPort === undefined || targetPort === undefined) throw new Error('no port');
  const done = new Promise<string>((resolve) => {
    const server = createServer((socket) => {
      const received = createHash('sha256');
      socket.on('data', (chunk) => received.update(chunk));
      socket.once('end', () => {
        socket.end('over');
        // The start of the proxy is awaited by connecting, without a byte.
        if (socket.bytesRead === 0) return;
        server.close();
        resolve(received.digest('hex'));
      });
    }).listen(targetPort, '127.0.0.1');
  });
  const proxy = await DelayProxy.start([{ listenPort, targetPort }]);
  t.teardown(() => proxy.stop());
  const client = connect(listenPort, '127.0.0.1');
  const answered = new Promise<string>((resolve) => {
    let text = '';
    client.on('data', (chunk) => {
      text += chunk.toString();
    });
    client.once('end', () => resolve(text));
  });
  const sent = createHash('sha256');
  for (const milliseconds of [0, 4, 1, 0]) {
    await proxy.setRoundTrip(milliseconds);
    const chunk = randomBytes(2 ** 20);
    sent.update(chunk);
    client.write(chunk);
  }
  client.end();
  t.equal(await done, sent.digest('hex'));
  t.equal(await answered, 'over', 'one side may end while the other still sends');
});
