/** Disk images of the peers: made, and compared at rest. */
import { closeSync, ftruncateSync, openSync, readSync, statSync } from 'node:fs';

const chunkBytes = 4 * 2 ** 20;

/** An image that reads as zeros; filling it with data is the suite's first job. */
export function makeZeroFile(path: string, sizeBytes: number): void {
  const fd = openSync(path, 'wx', 0o600);
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
}

/** The first difference between two images in words, or undefined. */
export function imagesDiffer(leftPath: string, rightPath: string): string | undefined {
  const sizeBytes = statSync(leftPath).size;
  if (sizeBytes !== statSync(rightPath).size) return 'the images differ in size';
  const left = openSync(leftPath, 'r');
  const right = openSync(rightPath, 'r');
  const chunks = [Buffer.alloc(chunkBytes), Buffer.alloc(chunkBytes)] as const;
  try {
    for (let offset = 0; offset < sizeBytes; offset += chunkBytes) {
      const length = Math.min(chunkBytes, sizeBytes - offset);
      readSync(left, chunks[0], 0, length, offset);
      readSync(right, chunks[1], 0, length, offset);
      if (chunks[0].compare(chunks[1], 0, length, 0, length) !== 0) {
        return `the images differ within ${length} bytes from ${offset} on`;
      }
    }
    return undefined;
  } finally {
    closeSync(left);
    closeSync(right);
  }
}
