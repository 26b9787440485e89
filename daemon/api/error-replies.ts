/** Every error of the API has one shape: {code, message, hint}. */
import { AssertionError } from 'node:assert';
import { ReplicationError } from '../../replication/errors.ts';
import { CasemateError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { HttpError, HttpRequest, HttpServer } from './http-server.ts';
import { withoutTokens } from './tokens.ts';

interface ErrorReply {
  readonly status: number;
  readonly body: {
    readonly code: string;
    readonly message: string;
    readonly hint?: string | undefined;
  };
}

/** Errors of the HTTP framework that have a name of their own. */
const frameworkCodes: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'ERR_BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'ERR_CONTENT_TYPE',
};

function isFrameworkError(error: unknown): error is HttpError {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number';
}

function replyFor(error: unknown): ErrorReply {
  if (error instanceof CasemateError) {
    const { status, code, message, hint } = error;
    return { status, body: { code, message, hint } };
  }
  if (error instanceof ReplicationError) {
    const status = error.code === 'ERR_REGISTER_NEWER' ? 409 : 503;
    const hint = '`casemate status` shows how the register is; then try again.';
    return { status, body: { code: error.code, message: error.message, hint } };
  }
  if (isFrameworkError(error) && error.statusCode !== undefined && error.statusCode < 500) {
    const code = frameworkCodes[error.code] ?? 'ERR_REQUEST';
    const hint = 'GET /v1/openapi.json describes every request.';
    return { status: error.statusCode, body: { code, message: error.message, hint } };
  }
  return {
    status: 500,
    body: {
      code: 'ERR_INTERNAL',
      message: 'an unexpected error inside the daemon',
      hint: 'The log of the daemon has the details.',
    },
  };
}

export interface ErrorRepliesOptions {
  readonly logger: Logger;
  /** An assertion failed: the process must not go on. */
  readonly bug: (error: AssertionError) => void;
}

const failed = 'request failed';

/** The path of a request without what somebody may have put there that no log should have. */
function loggedPath({ url }: HttpRequest): string {
  return withoutTokens(url.replace(/\?.*/s, ''));
}

/** Sets how the server answers errors and unknown paths. */
export function setErrorReplies(api: HttpServer, { logger, bug }: ErrorRepliesOptions): void {
  api.setErrorHandler(async (error, request, reply) => {
    const { status, body } = replyFor(error);
    if (status >= 500 && !(error instanceof CasemateError)) {
      logger.error({ err: error, method: request.method, path: loggedPath(request) }, failed);
    }
    if (error instanceof AssertionError) bug(error);
    if (status === 401) void reply.header('www-authenticate', 'Bearer realm="casemate"');
    return reply.code(status).type('application/json; charset=utf-8').send(body);
  });
  api.setNotFoundHandler((request) => {
    throw new CasemateError('ERR_NO_SUCH_PATH', `there is no ${request.method} ${request.url}`, {
      hint: 'GET /v1/openapi.json lists the paths there are.',
      status: 404,
    });
  });
}
