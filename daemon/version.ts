/** The version of this software, from the package it was built in. */
import { readFileSync } from 'node:fs';

function read(): string {
  // From dist/daemon/version.js up to the package's own directory.
  const document: unknown = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  if (typeof document === 'object' && document !== null && 'version' in document) {
    return String(document.version);
  }
  throw new Error('package.json has no version');
}

export const softwareVersion = read();
