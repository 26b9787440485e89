/** Who asks something of the daemon by HTTP, as events and log lines show it. */

export interface Caller {
  /** "token NAME", "user NAME" at the Unix socket, "local" where nobody is asked, or "nobody". */
  readonly who: string;
  readonly role: 'read' | 'operate' | 'none';
  /** Network address of the other end, or "unix socket". */
  readonly from: string;
}

/** "token ops (operate) from 10.20.0.9". */
export function callerText({ who, role, from }: Caller): string {
  return `${who}${role === 'none' ? '' : ` (${role})`} from ${from}`;
}
