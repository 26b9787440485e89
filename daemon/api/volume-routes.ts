/** What an operator does with volumes: create, show, resize, delete, switch over, promote. */
import type { Static } from '@sinclair/typebox';
import { Type } from '@sinclair/typebox';
import { CasemateError } from '../errors.ts';
import type { GroupStatus, SiteControl, VolumeStatus } from '../site-status.ts';
import type { Audited } from './audit.ts';
import { shownName } from './guards.ts';
import type { HttpServer } from './http-server.ts';
import {
  createVolumeSchema,
  errorSchema,
  evidenceSchema,
  nameParametersSchema,
  promotionSchema,
  resizeVolumeSchema,
  resolvedSchema,
  resolveSchema,
  volumeDetailSchema,
  volumeListSchema,
  volumeStatusSchema,
} from './schemas.ts';

type Named = { Params: Static<typeof nameParametersSchema> };

const errors = { '4xx': errorSchema, '5xx': errorSchema };

/** A volume and its group, as the site's status has them. */
async function find(
  control: SiteControl,
  name: string,
): Promise<{ volume: VolumeStatus; group: GroupStatus }> {
  const { groups } = await control.status();
  for (const group of groups) {
    const volume = group.volumes.find((each) => each.name === name);
    if (volume !== undefined) return { volume, group };
  }
  throw new CasemateError('ERR_NO_SUCH_VOLUME', `there is no volume "${name}"`, {
    hint: '`casemate volume list` shows the volumes there are.',
    status: 404,
  });
}

/** A volume as events name it. */
const volumeWords = (name: string): string => `volume ${shownName(name)}`;

/** Adds the routes to the server. What changes something goes through `audited`. */
export function addVolumeRoutes(api: HttpServer, control: SiteControl, audited: Audited): void {
  addCollectionRoutes(api, control, audited);
  addVolumeRoute(api, control, audited);
  addSwitchoverRoute(api, control, audited);
  addPromotionRoutes(api, control, audited);
  addResolveRoute(api, control, audited);
}

function addCollectionRoutes(api: HttpServer, control: SiteControl, audited: Audited): void {
  api.get(
    '/v1/volumes',
    { schema: { summary: 'All volumes.', response: { 200: volumeListSchema } } },
    async () => {
      const { groups } = await control.status();
      return { volumes: groups.flatMap(({ volumes }) => volumes) };
    },
  );
  api.post<{ Body: Static<typeof createVolumeSchema> }>(
    '/v1/volumes',
    {
      schema: {
        summary: 'Creates a volume on both sites.',
        body: createVolumeSchema,
        response: { 201: volumeStatusSchema, ...errors },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const what = `create ${volumeWords(body.name)} of ${body.sizeBytes} bytes`;
      const created = await audited(request, what, () => control.createVolume(body));
      return reply.code(201).send(created);
    },
  );
}

function addVolumeRoute(api: HttpServer, control: SiteControl, audited: Audited): void {
  api.get<Named>(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'One volume and its group.',
        params: nameParametersSchema,
        response: { 200: volumeDetailSchema, ...errors },
      },
    },
    async (request) => await find(control, request.params.name),
  );
  api.patch<Named & { Body: Static<typeof resizeVolumeSchema> }>(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Grows a volume.',
        params: nameParametersSchema,
        body: resizeVolumeSchema,
        response: { 200: volumeStatusSchema, ...errors },
      },
    },
    async (request) => {
      const { name } = request.params;
      const { sizeBytes } = request.body;
      const what = `grow ${volumeWords(name)} to ${sizeBytes} bytes`;
      return await audited(request, what, () => control.resizeVolume(name, sizeBytes));
    },
  );
  api.delete<Named>(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Deletes a volume and its data on both sites.',
        params: nameParametersSchema,
        response: { 204: Type.Null(), ...errors },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      await audited(request, `delete ${volumeWords(name)}`, () => control.deleteVolume(name));
      return reply.code(204).send();
    },
  );
}

function addSwitchoverRoute(api: HttpServer, control: SiteControl, audited: Audited): void {
  api.post<Named>(
    '/v1/volumes/:name/switchover',
    {
      schema: {
        summary: "Makes the other site primary of the volume's group; answers when it is.",
        params: nameParametersSchema,
        response: { 200: volumeDetailSchema, ...errors },
      },
    },
    async (request) => {
      const { name } = request.params;
      await audited(request, `switch ${volumeWords(name)} over`, () => control.switchover(name));
      return await find(control, name);
    },
  );
}

function addPromotionRoutes(api: HttpServer, control: SiteControl, audited: Audited): void {
  api.get<Named>(
    '/v1/volumes/:name/promotion',
    {
      schema: {
        summary: 'What a forced promotion here would rest on, and may give up.',
        params: nameParametersSchema,
        response: { 200: evidenceSchema, ...errors },
      },
    },
    async (request) => await control.promotionEvidence(request.params.name),
  );
  api.post<Named & { Body: Static<typeof promotionSchema> }>(
    '/v1/volumes/:name/promotion',
    {
      schema: {
        summary: 'Makes this site primary by force, on the evidence that was confirmed.',
        params: nameParametersSchema,
        body: promotionSchema,
        response: { 200: volumeDetailSchema, ...errors },
      },
    },
    async (request) => {
      const { name } = request.params;
      const { confirmation } = request.body;
      const what = `promote ${volumeWords(name)} by force`;
      await audited(request, what, () => control.forcePromote(name, confirmation));
      return await find(control, name);
    },
  );
}

function addResolveRoute(api: HttpServer, control: SiteControl, audited: Audited): void {
  api.post<Named & { Body: Static<typeof resolveSchema> }>(
    '/v1/volumes/:name/resolve',
    {
      schema: {
        summary: 'Ends a split by giving one side up; answers when that goes on by itself.',
        params: nameParametersSchema,
        body: resolveSchema,
        response: { 200: resolvedSchema, ...errors },
      },
    },
    async (request) => {
      const { name } = request.params;
      const { drop } = request.body;
      const what = `resolve ${volumeWords(name)}, dropping what ${shownName(drop)} has changed`;
      return await audited(request, what, () => control.resolveSplit(name, drop));
    },
  );
}
