/** The evidence that is shown before a forced promotion. */
import type { EvidenceAnswer } from '../api/schemas.ts';
import { alignColumns } from './columns.ts';

function timeText(ms: number | undefined): string {
  return ms === undefined ? 'time not known' : new Date(ms).toISOString();
}

/** What a forced promotion here rests on, and what it may give up. */
export function evidenceText(evidence: EvidenceAnswer): string {
  const { lastCommon, lastCommonAtMs, ownEnd, thisSite } = evidence;
  const facts = alignColumns([
    ['volume', `${evidence.volume} (group ${evidence.group}, all its volumes are promoted)`],
    ['on both sites', `up to record ${lastCommon.sequence}, ${timeText(lastCommonAtMs)}`],
    ['here', `up to record ${ownEnd.sequence}`],
    [`in sync`, evidence.inSyncHere ? `${thisSite} was in sync` : `${thisSite} was NOT IN SYNC`],
    ['peer', evidence.peerReachable ? 'REACHABLE: a switchover is the right way' : 'not reachable'],
    [
      'may be lost',
      evidence.peerMayHaveAcknowledgedMore
        ? 'YES: the other site may have acknowledged writes that are missing here'
        : 'nothing that was acknowledged, unless the other site was promoted by force meanwhile',
    ],
  ]);
  const warnings = evidence.warnings.map((warning) => `  ! ${warning}\n`).join('');
  return `Forced promotion at ${thisSite}:\n\n${facts}${warnings === '' ? '' : `\n${warnings}`}\n`;
}
