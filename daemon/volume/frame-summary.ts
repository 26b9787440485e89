/** A frame as the core sees it: its place in the history, without its records. */
import type { FrameSummary, GroupConfig } from '../../replication/core/config.ts';
import type { Frame } from '../../wal/frame.ts';

/** `epochStart` is the configuration whose epoch the frame begins, if it does. */
export function summarise(frame: Frame, epochStart: GroupConfig | undefined): FrameSummary {
  const { epoch, epochId, firstSequence, lastSequence, commit, digestBefore, digestAfter } = frame;
  return {
    epoch,
    epochId,
    firstSequence,
    lastSequence,
    commit,
    digestBefore,
    digestAfter,
    ...(epochStart === undefined ? {} : { epochStart }),
  };
}
