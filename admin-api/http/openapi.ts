import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { App } from './operation.ts';
import { AuthoritySchema } from './schemas/authority.ts';
import { CommandSchema, CountsSchema, ExecutionSchema } from './schemas/commands.ts';
import { ProblemSchema } from './schemas/common.ts';
import { DeviceSchema, ExplanationSchema, PlacementSchema } from './schemas/devices.ts';
import {
  EnrolmentSchema,
  EnrolmentTokenSchema,
  LocatedSchema,
  NewEnrolmentTokenSchema,
} from './schemas/enrolment.ts';
import { EVENT_SCHEMAS } from './schemas/event-types.ts';
import { GatewaySchema, WorkerSchema } from './schemas/gateways.ts';
import { GroupSchema } from './schemas/groups.ts';
import {
  GatewayCertificateSchema,
  GatewayCertificatesSchema,
  JoinRequestSchema,
  JoinRequestsSchema,
  JoinTokenSchema,
  NewJoinTokenSchema,
  RevokedSchema,
} from './schemas/joins.ts';
import { ServerKeysSchema } from './schemas/keys.ts';
import { AuditEntrySchema, StatusSchema } from './schemas/operations.ts';
import {
  NewServerJoinTokenSchema,
  RevokedServerSchema,
  ServerJoinRequestSchema,
  ServerJoinRequestsSchema,
  ServerJoinTokenSchema,
  ServerSchema,
  ServersSchema,
} from './schemas/servers.ts';
import { ApiTokenSchema, NewApiTokenSchema } from './schemas/tokens.ts';
import { OpenedTunnelSchema, TunnelSchema } from './schemas/tunnels.ts';

const SCHEMAS = [
  ProblemSchema,
  GroupSchema,
  DeviceSchema,
  ExplanationSchema,
  PlacementSchema,
  EnrolmentSchema,
  LocatedSchema,
  EnrolmentTokenSchema,
  NewEnrolmentTokenSchema,
  ServerKeysSchema,
  ApiTokenSchema,
  NewApiTokenSchema,
  WorkerSchema,
  GatewaySchema,
  AuthoritySchema,
  JoinTokenSchema,
  NewJoinTokenSchema,
  JoinRequestSchema,
  JoinRequestsSchema,
  GatewayCertificateSchema,
  GatewayCertificatesSchema,
  RevokedSchema,
  ServerSchema,
  ServersSchema,
  ServerJoinTokenSchema,
  NewServerJoinTokenSchema,
  ServerJoinRequestSchema,
  ServerJoinRequestsSchema,
  RevokedServerSchema,
  CountsSchema,
  CommandSchema,
  ExecutionSchema,
  TunnelSchema,
  OpenedTunnelSchema,
  AuditEntrySchema,
  StatusSchema,
  ...EVENT_SCHEMAS,
];

const TAGS = {
  Commands: 'Commands to devices, and their outcomes.',
  Devices: 'Enrolled devices.',
  Tunnels: 'A port on a device, reached through a gateway.',
  Groups: 'The tree of groups of devices.',
  Enrolment: 'How devices enrol.',
  Gateways: 'Gateways: distribution points that run the push server.',
  Servers: 'Administration servers that join an installation.',
  Events: 'Changes as they happen.',
  Administration: 'API tokens, audit and state of the server.',
  Health: 'For load balancers and monitoring.',
};

const DESCRIPTION = `Times are RFC 3339 in UTC with milliseconds; durations are seconds unless a name
ends in Ms. Unknown members of a body are refused. Lists come in pages: pass \`next\` of one answer as
\`cursor\` of the next request. Every error is a problem document (RFC 9457) with a \`code\` for programs.
Every answer carries \`X-Request-Id\`: the caller's own, or one that the server generated.

Groups, devices and gateways come with an \`ETag\` of what operators set. A change or deletion that sends it
as \`If-Match\` is refused with 412 if somebody else changed the same object meanwhile; without \`If-Match\`
the last change wins. Measurements (connections, load) do not alter the tag, so it is of no use for caches.

Operations that change something and do not read \`Idempotency-Key\` or \`If-Match\` refuse them with 400.
\`GET\` and \`HEAD\` ignore both.`;

/** Registers the sources of the document; call it before the routes. */
export async function useOpenApi(app: App, version: string, basePath?: string): Promise<void> {
  for (const schema of SCHEMAS) app.addSchema(schema);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Pushpoint administration server',
        version,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: basePath || '/', description: 'This administration server.' }],
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'ppt_...',
            description: 'An API token. `x-role` of an operation names the least role it needs.',
          },
        },
      },
    },
    convertConstToEnum: false,
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `schema-${i}`) },
    transformObject: (document) =>
      nameForms(
        ('openapiObject' in document ? document.openapiObject : {}) as unknown as OpenApiDocument,
      ) as never,
  });
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    // This server serves everything, so that the page works without internet access.
    uiConfig: { validatorUrl: null, deepLinking: true, docExpansion: 'list' },
    staticCSP: {
      'default-src': ["'self'"],
      'img-src': ["'self'", 'data:'],
      'style-src': ["'self'", "'unsafe-inline'"],
      'frame-ancestors': ["'none'"],
    },
  });
}

/** Serves the document; call it after the routes. */
export function serveOpenApi(app: App): void {
  let text: string | undefined;
  app.get('/openapi.json', { schema: { hide: true } }, (_request, reply) => {
    text ??= JSON.stringify(app.swagger());
    return reply.type('application/json; charset=utf-8').serializer(String).send(text);
  });
}

export interface OpenApiSchema {
  [keyword: string]: unknown;
  $ref?: string;
  title?: string;
  oneOf?: OpenApiSchema[];
  discriminator?: { propertyName: string; mapping?: Record<string, string> };
  properties?: Record<string, OpenApiSchema>;
}

export interface OpenApiOperation {
  operationId: string;
  summary: string;
  description?: string;
  tags: string[];
  'x-role'?: string;
  parameters?: {
    name: string;
    in: string;
    required?: boolean;
    description?: string;
    schema: OpenApiSchema;
  }[];
  requestBody?: { required?: boolean; content: Record<string, { schema: OpenApiSchema }> };
  responses: Record<
    string,
    {
      description: string;
      content?: Record<string, { schema: OpenApiSchema }>;
      headers?: Record<string, unknown>;
    }
  >;
}

export interface OpenApiDocument {
  openapi: string;
  info: { title: string; version: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, OpenApiOperation>>;
  components: { schemas: Record<string, OpenApiSchema> };
}

/**
 * Bodies with a title become named schemas, and so do the variants of a discriminator: OpenAPI allows a
 * discriminator to choose between named schemas only.
 */
function nameForms(document: OpenApiDocument): OpenApiDocument {
  const { schemas } = document.components;
  const name = (schema: OpenApiSchema): OpenApiSchema => {
    if (schema.title === undefined) return schema;
    schemas[schema.title] = schema;
    return { $ref: `#/components/schemas/${schema.title}` };
  };
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path))) {
    // A member with a default may be left out; handlers always see it.
    for (const parameter of operation.parameters ?? []) {
      if ('default' in parameter.schema) parameter.required = false;
    }
    if (!operation.requestBody) continue;
    for (const media of Object.values(operation.requestBody.content)) {
      const { schema } = media;
      if (Array.isArray(schema.type) && schema.type.includes('null')) operation.requestBody.required = false;
      const { discriminator } = schema;
      if (discriminator && schema.oneOf) {
        const mapping: Record<string, string> = {};
        schema.oneOf = schema.oneOf.map((form) => {
          const named = name(form);
          mapping[String(form.properties?.[discriminator.propertyName]?.const)] = named.$ref ?? '';
          return named;
        });
        schema.discriminator = { ...discriminator, mapping };
      }
      media.schema = name(schema);
    }
  }
  return document;
}
