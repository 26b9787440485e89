/** A split for people: what each site has changed, and the command that ends it. */
import { formatSize } from '../config/sizes.ts';
import type { SplitSide, SplitStatus } from '../site-status.ts';

/** Parts of a volume that are named. */
const partsShownMax = 4;

/** What each side of a split has changed; empty if the group is not split. */
export function splitText(group: {
  readonly name: string;
  readonly split?: SplitStatus | undefined;
  readonly volumes: readonly { readonly name: string }[];
}): string {
  const { split, name } = group;
  if (split === undefined) return '';
  const { here, there, givenUp } = split;
  const sides = there === undefined ? [here] : [here, there];
  const unheard = there === undefined ? '  the other site has not said what it has changed\n' : '';
  const volume = group.volumes[0]?.name ?? 'VOLUME';
  const end =
    givenUp === undefined
      ? `  one side has to be given up: casemate resolve ${volume} --drop SITE\n`
      : `  ${givenUp} is given up and becomes a copy of the other site\n`;
  return `split, group ${name}:\n${sides.map(sideText).join('')}${unheard}${end}`;
}

function sideText({ site, epoch, end, since, changedBytes, volumes }: SplitSide): string {
  const from = since === undefined ? 'what it has changed is not known' : `since record ${since}`;
  const head = `  ${site}: epoch ${epoch}, record ${end}; ${formatSize(changedBytes)} changed ${from}\n`;
  return head + volumes.map(volumeText).join('');
}

function volumeText({ name, extents, leftOutBytes }: SplitSide['volumes'][number]): string {
  if (extents.length === 0) return '';
  const shown = extents.slice(0, partsShownMax);
  const moreBytes = extents
    .slice(partsShownMax)
    .reduce((sum, { lengthBytes }) => sum + lengthBytes, leftOutBytes);
  const parts = shown.map(
    ({ offsetBytes, lengthBytes }) => `${formatSize(lengthBytes)} at ${formatSize(offsetBytes)}`,
  );
  const more = moreBytes === 0 ? '' : `, and ${formatSize(moreBytes)} more`;
  return `    ${name}: ${parts.join(', ')}${more}\n`;
}
