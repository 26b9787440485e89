/** Says in one sentence for each group how it stands, and why it does not serve if it does not. */
import { durationText } from '../duration-text.ts';
import type { GroupStatus, SiteStatus } from '../site-status.ts';

export interface Explanation {
  readonly group: string;
  readonly volumes: readonly string[];
  readonly serves: boolean;
  readonly text: string;
  /** A command that is safe now, if one helps. */
  readonly command: string | undefined;
}

/** "suspended for 4.1 s: peer lux-2 unreachable; I/O resumes by itself when …" */
function waitText(group: GroupStatus, nowMs: number): string {
  const { wait, heldRequests } = group;
  if (wait === undefined) return 'does not serve, and does not say why';
  const requests = heldRequests === 1 ? 'request waits' : 'requests wait';
  const held = heldRequests === 0 ? '' : ` (${heldRequests} ${requests})`;
  const since = durationText(nowMs - wait.sinceMs);
  return `suspended for ${since}${held}: ${wait.text}; I/O resumes ${wait.clears}`;
}

function damageText({ volumes }: GroupStatus): string {
  const parts = volumes
    .filter(({ unreadableBytes }) => unreadableBytes > 0)
    .map(({ name, unreadable, unreadableBytes }) => {
      const at = unreadable.map(({ offsetBytes }) => offsetBytes).join(', ');
      return `; ${unreadableBytes} bytes of ${name} can't be read on this site's disk (at ${at})`;
    });
  return parts.join('');
}

function servingText(group: GroupStatus, { site, peer, nowMs }: SiteStatus): string {
  const by = group.role === 'primary' ? site : (group.primarySite ?? peer.name);
  const passed = group.role === 'primary' ? '' : ', requests made here are passed on';
  if (group.inSync) return `served by ${by}${passed}; in sync on both sites`;
  const last = group.lastOnBothSitesMs;
  const newest =
    last === undefined
      ? 'when both sites were last the same is not known'
      : `the newest write on both sites was made ${durationText(nowMs - last)} ago`;
  return `served by ${by} alone${passed}: ${group.peer.text}; ${newest}`;
}

/** How each group of a site stands. */
export function explain(status: SiteStatus): Explanation[] {
  return status.groups.map((group) => {
    const volumes = group.volumes.map(({ name }) => name);
    const { serves, wait } = group;
    const state = serves ? servingText(group, status) : waitText(group, status.nowMs);
    const text = state + damageText(group);
    const command = serves
      ? undefined
      : wait?.command?.replaceAll('VOLUME', volumes[0] ?? 'VOLUME');
    return { group: group.name, volumes, serves, text, command };
  });
}
