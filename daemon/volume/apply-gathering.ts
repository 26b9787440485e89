/**
 * When committed records are applied to the data files: all volumes of a site together, a moment
 * after the first of them has something. Writes of one moment share one call into a worker thread,
 * whichever volume they are for; each volume by itself would pay the way there for a few blocks.
 */

/** Records wait so long for company. */
const gatherMs = 20;

/** Gives the promise that all who ask meanwhile share. */
export function applyGathering(delay: (ms: number) => Promise<void>): () => Promise<void> {
  let coming: Promise<void> | undefined;
  return () => {
    coming ??= delay(gatherMs).then(() => {
      coming = undefined;
    });
    return coming;
  };
}
