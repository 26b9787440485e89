/**
 * The data of the options that carry any, decoded and checked: the layouts of NBD_OPT_INFO and
 * NBD_OPT_GO, and of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. A decoder gives
 * undefined for data that does not have exactly the layout; the client then gets
 * NBD_REP_ERR_INVALID.
 */
import { stringBytesMax } from './constants.ts';

export interface InfoOption {
  readonly exportName: string;
  /** Types of information asked for; unknown ones are kept, and ignored later. */
  readonly infoTypes: ReadonlySet<number>;
}

export interface MetaContextOption {
  readonly exportName: string;
  readonly queries: readonly string[];
}

/** | 4 name length | name | 2 count | 2 x count information types | */
export function decodeInfoOption(data: Buffer): InfoOption | undefined {
  const name = readString(data, 0);
  if (name === undefined || data.length < name.end + 2) return undefined;
  const count = data.readUInt16BE(name.end);
  const start = name.end + 2;
  if (data.length !== start + 2 * count) return undefined;
  const infoTypes = new Set<number>();
  for (let index = 0; index < count; index += 1) {
    infoTypes.add(data.readUInt16BE(start + 2 * index));
  }
  return { exportName: name.text, infoTypes };
}

/** | 4 name length | name | 4 count | count times: 4 length, query | */
export function decodeMetaContextOption(data: Buffer): MetaContextOption | undefined {
  const name = readString(data, 0);
  if (name === undefined || data.length < name.end + 4) return undefined;
  const count = data.readUInt32BE(name.end);
  const queries: string[] = [];
  let position = name.end + 4;
  // Each query takes at least 4 bytes, so the loop ends with the data whatever the count says.
  for (let index = 0; index < count; index += 1) {
    const query = readString(data, position);
    if (query === undefined) return undefined;
    queries.push(query.text);
    position = query.end;
  }
  return position === data.length ? { exportName: name.text, queries } : undefined;
}

function readString(data: Buffer, position: number): { text: string; end: number } | undefined {
  if (data.length < position + 4) return undefined;
  const length = data.readUInt32BE(position);
  const start = position + 4;
  if (length > stringBytesMax || data.length < start + length) return undefined;
  return { text: data.toString('utf8', start, start + length), end: start + length };
}
