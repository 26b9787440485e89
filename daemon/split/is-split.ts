/** Whether a group is split, as far as this site sees. */
import { CasemateError } from '../errors.ts';
import type { Group } from '../volume/group.ts';

/** Both sites have what the other one lacks, as far as this site knows. */
export function isSplit({ view }: Group): boolean {
  if (view.waitReason?.code === 'split') return true;
  return view.peer.kind === 'refused' && ['split', 'diverged'].includes(view.peer.code);
}

/**
 * Volumes do not come, go or grow while the two sites have different histories.
 * @throws CasemateError ERR_SPLIT
 */
export function needOneHistory(group: Group): void {
  if (!isSplit(group)) return;
  throw new CasemateError(
    'ERR_SPLIT',
    `group "${group.groupName}" is split: each site has changes that the other one lacks`,
    { hint: 'End the split first: `casemate resolve VOLUME --drop SITE`.', status: 409 },
  );
}
