/** What is kept of groups that were removed while nobody here asked for it (R39). */
import { join } from 'node:path';
import type { GroupContext } from './group-context.ts';

/** Their files are kept in this part of the data directory. */
export const asideName = 'removed';

/** Moves a file of the data directory there; durable once the data directory is synced as well. */
export async function setAside(
  { disk, dataDirectory }: Pick<GroupContext, 'disk' | 'dataDirectory'>,
  file: string,
): Promise<void> {
  const aside = join(dataDirectory, asideName);
  await disk.makeDirectory(aside);
  await disk.rename(join(dataDirectory, file), join(aside, file));
  await disk.syncDirectory(aside);
}
