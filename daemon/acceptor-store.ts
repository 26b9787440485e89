/**
 * The state of this site's acceptor, until the store fails a write (R4, I8): what was promised may
 * be lost then, so nothing more is promised by this life of the process. A disk that is full is no
 * such failure: SQLite has undone the transaction. A failed log is none either: the other site
 * needs this acceptor to take over (R33).
 */
import type { AcceptorStore } from '../replication/register/acceptor.ts';
import { CasemateError } from './errors.ts';
import { isStoreFull } from './store/errors.ts';

/** `store`, which gives and takes nothing any more once a write to it has failed. */
export function untilItFails(store: AcceptorStore): AcceptorStore {
  let failed: unknown;
  const check = (): void => {
    if (failed === undefined) return;
    const text = 'the store of this site has failed a write';
    throw new CasemateError('ERR_DISK_FAILED', text, { cause: failed });
  };
  return {
    load: (groupId) => {
      check();
      return store.load(groupId);
    },
    save: (groupId, state) => {
      check();
      try {
        store.save(groupId, state);
      } catch (error) {
        if (!isStoreFull(error)) failed = error;
        throw error;
      }
    },
  };
}
