/**
 * The bare HTTP server: limits, JSON bodies and the OpenAPI document. The only file that imports
 * fastify; the others take its types from here.
 */
import swagger from '@fastify/swagger';
import { type FastifyInstance, fastify } from 'fastify';

export type {
  FastifyError as HttpError,
  FastifyInstance as HttpServer,
  FastifyRequest as HttpRequest,
  FastifySchemaCompiler as SchemaCompiler,
} from 'fastify';

export interface HttpServerOptions {
  readonly bodyBytesMax: number;
  readonly title: string;
  readonly description: string;
  readonly version: string;
}

/** JSON bodies; an empty one counts as absent, so that an action needs no body. */
function setBodyParser(server: FastifyInstance): void {
  const parse = server.getDefaultJsonParser('error', 'error');
  server.removeAllContentTypeParsers();
  server.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    (request, body, done) => {
      if (body.length === 0) done(null, undefined);
      else parse(request, body, done);
    },
  );
}

/**
 * Makes a server without routes, which listens nowhere by itself (`daemon/system-http-server.ts`).
 * What is sent is what a route gave: no schema drops anything.
 */
export function makeHttpServer(options: HttpServerOptions): FastifyInstance {
  const { bodyBytesMax, title, description, version } = options;
  const server = fastify({
    bodyLimit: bodyBytesMax,
    logger: false,
  });
  setBodyParser(server);
  server.setSerializerCompiler(() => (value) => JSON.stringify(value));
  void server.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title, description, version } },
  });
  return server;
}
