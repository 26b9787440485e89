/**
 * A standby's clients have sent more while the primary was away than the queue to it takes: it is
 * passed on bit by bit when the primary is back (R37), and the connection holds. Two sites in one
 * process.
 */
import t from 'tap';
import { blockError } from '../../daemon/nbd/block-device.ts';
import { pollUntil } from '../support/poll.ts';
import { spoiledPair } from '../support/site-pair.ts';

const mebibyte = 1024 * 1024;
const volumeBytes = 8 * mebibyte;

t.test('more than the queue holds is passed on, and answered, over one connection', async (t) => {
  const { a, b } = await spoiledPair(t, {
    onPeerLoss: 'suspend',
    tables: { replication: ['linkQueueBytesMax = "72MiB"'] },
  });
  await a.stop();
  await b.until('waits for its peer', ({ serves }) => !serves);
  const count = 96;
  let answered = 0;
  const errors: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const error = b.request({
      command: 'write',
      offsetBytes: (index * mebibyte) % volumeBytes,
      lengthBytes: mebibyte,
      payload: [Buffer.alloc(mebibyte, String.fromCharCode(32 + index))],
    });
    void error.then((value) => {
      answered += 1;
      if (value !== blockError.none) errors.push(value);
    });
  }
  const held = await b.until('holds them', ({ heldRequests }) => heldRequests >= count);
  t.equal(held.role, 'secondary');
  await a.start();
  await pollUntil('all are answered', () => answered === count);
  t.same(errors, []);
  t.notMatch(a.events(), /peer-lost: .*does not read/);
  t.notMatch(b.events(), /peer-lost: .*does not read/);
  // Of one block the last write is what stays: they went in the order they came in.
  for (let block = 0; block < volumeBytes / mebibyte; block += 1) {
    const last = count - volumeBytes / mebibyte + block;
    t.equal(await b.read((block * mebibyte) / 4096), String.fromCharCode(32 + last));
  }
});
