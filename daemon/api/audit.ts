/**
 * Keeps as an event what an operator has asked for and what came of it, by whom. Around the action
 * itself, not around its answer: whoever hangs up early is written down as well.
 */
import { CasemateError } from '../errors.ts';
import type { SiteControl } from '../site-status.ts';
import type { CallerOf } from './guards.ts';
import type { HttpRequest } from './http-server.ts';

/** Does what was asked for; `what` says it in words. */
export type Audited = <Result>(
  request: HttpRequest,
  what: string,
  action: () => Promise<Result>,
) => Promise<Result>;

export function auditedBy(control: SiteControl, callerOf: CallerOf): Audited {
  return async (request, what, action) => {
    const by = callerOf(request);
    if (by.role !== 'operate') throw new Error('a request that may not has passed the guard');
    try {
      const result = await action();
      control.recordAction({ level: 'info', code: 'operator-action', text: `${what}: done`, by });
      return result;
    } catch (error) {
      const why = error instanceof CasemateError ? error.code : 'ERR_INTERNAL';
      const text = `${what}: not done, ${why}`;
      control.recordAction({ level: 'warn', code: 'operator-failed', text, by });
      throw error;
    }
  };
}
