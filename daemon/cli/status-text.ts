/**
 * A site's status for a person at three in the morning: what is fine in few words, what is not in a
 * sentence with since when, what clears it, and the safe command.
 */
import type { GroupAnswer, StatusAnswer, WhyAnswer } from '../api/schemas.ts';
import { formatSize } from '../config/sizes.ts';
import { durationText } from '../duration-text.ts';
import { adviceOn } from '../headline.ts';
import {
  inSyncWord,
  logText,
  peerText,
  registerText,
  resyncBar,
  resyncText,
  siteText,
  stateWord,
  witnessText,
} from '../site-words.ts';
import { alignColumns } from './columns.ts';
import { splitText } from './split-text.ts';

function headText(status: StatusAnswer): string {
  const { witness, nowMs } = status;
  return alignColumns([
    ['site', siteText(status)],
    ['peer', peerText(status)],
    ['register', registerText(status)],
    ...(witness === undefined ? [] : [['witness', witnessText(witness, nowMs)]]),
    ['log', logText(status.log)],
  ]);
}

function volumeTable(groups: readonly GroupAnswer[]): string {
  const rows = groups.flatMap((group) =>
    group.volumes.map((volume) => [
      volume.name,
      group.role,
      stateWord(group),
      inSyncWord(group),
      formatSize(volume.sizeBytes),
      formatSize(volume.allocatedBytes),
      String(volume.clientConnections),
    ]),
  );
  if (rows.length === 0) return 'no volumes yet: casemate volume create NAME --size 10GiB\n';
  const head = ['VOLUME', 'ROLE', 'STATE', 'IN SYNC', 'SIZE', 'USED HERE', 'CLIENTS'];
  return alignColumns([head, ...rows], [4, 5, 6]);
}

/** How far each resync is, with a bar. */
function resyncLines(groups: readonly GroupAnswer[]): string {
  return groups
    .flatMap(({ resync, inSync, name }) =>
      resync === undefined || inSync
        ? []
        : [`resync of ${name}: ${resyncBar(resync)} ${resyncText(resync)}\n`],
    )
    .join('');
}

/** How each group stands in a sentence, the safe command below. */
export function whyText({ groups }: WhyAnswer): string {
  return groups
    .map(({ volumes, group, text, command }) => {
      const names = volumes.length === 0 ? `${group} (no volumes)` : volumes.join(', ');
      const advice = command === undefined ? '' : `  safe to run: ${command}\n`;
      return `${names}: ${text}\n${advice}`;
    })
    .join('');
}

/** The whole status; `why` has the sentences for groups that are not well. */
export function statusText(status: StatusAnswer, why: WhyAnswer): string {
  const unwell = new Set(
    status.groups.filter(({ serves, inSync }) => !serves || !inSync).map(({ name }) => name),
  );
  const sentences = whyText({ groups: why.groups.filter(({ group }) => unwell.has(group)) });
  const parts = [headText(status), volumeTable(status.groups)];
  const resyncs = resyncLines(status.groups);
  if (resyncs !== '') parts.push(resyncs);
  if (sentences !== '') parts.push(sentences);
  const splits = status.groups.map(splitText).join('');
  if (splits !== '') parts.push(splits);
  const said = status.groups.flatMap(({ wait, peer }) => [wait?.text ?? '', peer.text]);
  const others = status.problems.filter(
    ({ text }) => !said.some((each) => each !== '' && text.includes(each)),
  );
  if (others.length > 0) parts.push(others.map(problemText).join(''));
  return parts.join('\n');
}

function problemText({ code, text }: StatusAnswer['problems'][number]): string {
  const advice = adviceOn(code);
  return `problem: ${text}\n${advice === undefined ? '' : `  to do: ${advice}\n`}`;
}

/** Who decides between the sites, if there is somebody. */
function thirdVoter({ voters }: GroupAnswer): string | undefined {
  if (voters.includes('etcd')) return 'etcd';
  return voters.length > 2 ? 'the witness' : undefined;
}

function unreadableRow({ unreadable, unreadableBytes }: GroupAnswer['volumes'][number]) {
  if (unreadable.length === 0) return [];
  const parts = unreadable.map((part) => `${part.lengthBytes} at byte ${part.offsetBytes}`);
  return [['UNREADABLE', `${unreadableBytes} bytes of this site's copy: ${parts.join(', ')}`]];
}

/** One volume in full. */
export function volumeText(name: string, group: GroupAnswer, nowMs: number): string {
  const volume = group.volumes.find((each) => each.name === name);
  if (volume === undefined) throw new Error(`the group has no volume ${name}`);
  const last = group.lastOnBothSitesMs;
  const size = `${formatSize(volume.sizeBytes)} (${volume.sizeBytes} bytes)`;
  const alone = thirdVoter(group)
    ? `the site that ${thirdVoter(group)} answers goes on alone`
    : 'hold I/O';
  const preferred =
    group.onPeerLoss === 'preferred' ? `${group.preferredSite ?? '?'} goes on alone` : alone;
  const facts = alignColumns([
    ['volume', volume.name],
    ['group', `${group.name} (epoch ${group.epoch})`],
    ['size', `${size}, ${formatSize(volume.allocatedBytes)} used on this site`],
    ['role', `${group.role} here; primary is ${group.primarySite ?? 'not known'}`],
    ['in sync', `${group.inSync ? 'yes' : 'no'}: ${group.peer.text}`],
    ['newest on both', last === undefined ? 'not known' : `${durationText(nowMs - last)} ago`],
    ['voters', group.voters.join(', ')],
    ['without peer', preferred],
    ['clients', String(volume.clientConnections)],
    ...unreadableRow(volume),
    ['waiting', `${group.heldRequests} requests`],
    ...volume.exportUri.map((uri, index) => [index === 0 ? 'export' : '', uri]),
  ]);
  const split = splitText(group);
  return split === '' ? facts : `${facts}\n${split}`;
}
