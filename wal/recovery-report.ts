/** Says what recovery found, in numbers and in a sentence. */
import type { GroupId } from './frame.ts';
import type { RecoveredLogGroup } from './group-recovery.ts';
import type { ScanResult } from './log-scan.ts';
import type { RecoveryReport } from './log-types.ts';

/** The report on one opening of the log; without a scan the log was made just now. */
export function recoveryReport(options: {
  readonly scan: ScanResult | undefined;
  readonly groups: ReadonlyMap<GroupId, RecoveredLogGroup>;
  readonly endLsn: number;
  readonly tookMs: number;
}): RecoveryReport {
  const { scan, groups, endLsn, tookMs } = options;
  const damaged = [...groups].filter(([, group]) => group.damaged !== undefined);
  const numbers = {
    created: scan === undefined,
    segments: scan?.used.length ?? 1,
    entries: scan?.entries ?? 0,
    readBytes: scan?.readBytes ?? 0,
    tookMs: Math.round(tookMs),
    endLsn,
    tornTail: scan?.tornTail ?? false,
    lostRanges: (scan?.lost ?? []).map(({ fromLsn, toLsn }) => ({ fromLsn, toLsn })),
    damagedGroups: damaged.map(([groupId]) => groupId),
  };
  return { ...numbers, text: sentence(numbers, damaged) };
}

function sentence(
  numbers: Omit<RecoveryReport, 'text'>,
  damaged: readonly (readonly [GroupId, RecoveredLogGroup])[],
): string {
  if (numbers.created) return withGroups('the log was made anew', damaged);
  const parts = [
    `log read in ${numbers.tookMs} ms: ${numbers.entries} entries in ${numbers.segments} segments`,
    numbers.tornTail
      ? `an unfinished write at the end, position ${numbers.endLsn}, was cut off`
      : 'it ends where it was written last',
  ];
  const places = numbers.lostRanges.length;
  if (places > 0) {
    parts.push(`damage in ${places} ${places === 1 ? 'place' : 'places'} before the end`);
  }
  return withGroups(parts.join(', '), damaged);
}

function withGroups(
  text: string,
  damaged: readonly (readonly [GroupId, RecoveredLogGroup])[],
): string {
  if (damaged.length === 0) return text;
  const words = damaged.map(([groupId, group]) => `${groupId} (${group.damaged})`);
  return `${text}; damaged groups: ${words.join('; ')}`;
}
