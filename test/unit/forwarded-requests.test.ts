/** What a primary does with requests of the standby's clients that it can't do at the moment. */
import t from 'tap';
import { ForwardedRequests } from '../../daemon/volume/forwarded-requests.ts';
import type { ForwardReply, ForwardRequest } from '../../replication/link/forward-format.ts';

const session = 7;

function write(fields: Partial<ForwardRequest>): ForwardRequest {
  return {
    id: 1,
    command: 'write',
    volume: 1,
    offsetBytes: 0,
    lengthBytes: 512,
    noHole: false,
    originBoot: 1n,
    originNumber: 1,
    payload: [Buffer.alloc(512)],
    ...fields,
  };
}

t.test('a standby that is ahead with the table of volumes is refused, not told an error', (t) => {
  const replies: ForwardReply[] = [];
  const requests = new ForwardedRequests({
    nowMs: () => 0,
    takesWrites: () => true,
    mayRead: () => true,
    // The record of the volume, or of its growth, is committed; it is not in effect here yet.
    volume: () => undefined,
    submitPart: () => t.fail('nothing is done'),
    reply: (_, reply) => replies.push(reply),
    readFailed: () => t.fail('nothing is read'),
  });
  requests.sessionOpened(session);
  requests.take(session, write({}));
  requests.take(session, write({ id: 2, command: 'read', payload: [] }));
  t.same(
    replies.map(({ id, error, refused }) => ({ id, error, refused })),
    [1, 2].map((id) => ({ id, error: 0, refused: true })),
    'refused is not executed: it is sent again (R37)',
  );
  t.end();
});
