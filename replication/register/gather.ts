/** Waiting for enough of several answers. */

/**
 * Collects what `calls` resolve to, until `enough` says so or all have settled; rejections
 * (unreachable) are left out. Late answers are dropped.
 */
export function gather<T>(
  calls: readonly Promise<T>[],
  enough: (answers: readonly T[]) => boolean,
): Promise<readonly T[]> {
  return new Promise((resolve) => {
    const answers: T[] = [];
    let open = calls.length;
    let done = false;
    const finish = (): void => {
      done = true;
      resolve([...answers]);
    };
    const settle = (): void => {
      open -= 1;
      if (!done && (open === 0 || enough(answers))) finish();
    };
    for (const call of calls) {
      call.then(
        (answer) => {
          if (!done) answers.push(answer);
          settle();
        },
        () => settle(),
      );
    }
    if (open === 0) finish();
  });
}
