/** What `systemctl status` shows of a daemon: one sentence, the worst first. */
import type { WitnessSnapshot } from '../metrics/witness-declarations.ts';
import type { SiteStatus } from './site-status.ts';

/** systemd shows it in one line of a terminal. */
const lengthMax = 300;

/** How a site is. */
export function siteSentence({ groups, peer, problems }: SiteStatus): string {
  const [worst] = problems;
  const volumes = groups.flatMap((group) => group.volumes.map(() => group.serves));
  const serving = volumes.filter((serves) => serves).length;
  const counted = `${serving} of ${counts(volumes.length, 'volume')}`;
  if (worst === undefined) return `All is well: serves ${counted}, in sync with ${peer.name}`;
  const more = problems.length > 1 ? ` (and ${counts(problems.length - 1, 'more problem')})` : '';
  return shortened(`Serves ${counted}; ${worst.text}`, more);
}

/** How a witness is. */
export function witnessSentence({ failed, sites, clusters }: WitnessSnapshot): string {
  if (failed) return 'The disk failed: it answers nobody until it is restarted';
  const away = sites.filter(({ connected }) => !connected).map(({ site }) => site);
  const connected = `${sites.length - away.length} of ${sites.length} sites connected`;
  const missing = away.length === 0 ? '' : `; not connected: ${away.join(', ')}`;
  return shortened(`Votes for ${counts(clusters.length, 'pair')}, ${connected}${missing}`, '');
}

function counts(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function shortened(text: string, end: string): string {
  const room = lengthMax - end.length;
  return text.length <= room ? `${text}${end}` : `${text.slice(0, room - 1)}…${end}`;
}
