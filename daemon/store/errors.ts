/** What can be wrong with a site's store; each says what to do about it. */
import { isOutOfSpace } from '../../wal/disk-error.ts';
import { CasemateError } from '../errors.ts';

const restoreHint =
  'Move the data directory aside and start with an empty one: the site then gets a new identity ' +
  'and its copies anew from the peer.';

/** The store's content can't be trusted. */
export function storeCorrupt(path: string, what: string, cause?: unknown): CasemateError {
  return new CasemateError('ERR_STORE_CORRUPT', `the store ${path} is damaged: ${what}`, {
    hint: restoreHint,
    status: 500,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The store was written by a version of Casemate that this one does not know. */
export function storeTooNew(path: string, found: number, known: number): CasemateError {
  return new CasemateError(
    'ERR_STORE_VERSION',
    `the store ${path} has format ${found}; this version of Casemate knows formats up to ${known}`,
    { hint: 'Run the newer version of Casemate that wrote it.', status: 500 },
  );
}

/** Some other file has the store's name. */
export function notAStore(path: string): CasemateError {
  return new CasemateError('ERR_STORE_FOREIGN', `${path} is not a store of Casemate`, {
    hint: 'Correct dataDirectory in the configuration, or move the file away.',
    status: 500,
  });
}

/** The data directory was made for another site or another pair. */
export function wrongIdentity(
  what: 'site' | 'cluster' | 'name',
  path: string,
  found: string,
  configured: string,
): CasemateError {
  return new CasemateError(
    'ERR_STORE_IDENTITY',
    `the store ${path} belongs to ${what} "${found}", but the configuration says "${configured}"`,
    {
      hint: `Correct ${what} or dataDirectory in the configuration; a data directory is never shared.`,
      status: 500,
    },
  );
}

/** No room for a change. */
export function storeFull(path: string, cause: unknown): CasemateError {
  return new CasemateError('ERR_STORE_FULL', `there is no room for a change of the store ${path}`, {
    hint: 'Make room on its file system; what waits for it goes on by itself.',
    status: 507,
    cause,
  });
}

/** No room for what has to be kept before anything else happens: the site can't go on. */
export function storeFullForGood(cause: unknown): CasemateError {
  const text =
    'the store has no room for what this site has to keep before it goes on: make room on the ' +
    'file system of the data directory, then restart the daemon';
  return new CasemateError('ERR_STORE_FULL', text, { status: 507, cause });
}

/** Another process has the store open. */
export function storeInUse(path: string, cause: unknown): CasemateError {
  return new CasemateError('ERR_STORE_IN_USE', `another process has the store ${path} open`, {
    hint: 'Is a daemon running on this data directory already? One daemon needs one of its own.',
    status: 500,
    cause,
  });
}

/** SQLite found no room; its transaction was undone, and what was there is as good as before. */
export function isStoreFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'SQLITE_FULL';
}

/** True if there is no room in the store, or on the disk: that passes when somebody makes some. */
export function isWithoutRoom(error: unknown): boolean {
  return isStoreFull(error) || isOutOfSpace(error);
}
