/** docs/api.md, from the OpenAPI document that the administration server serves. */
import pino from 'pino';
import { Registry } from 'prom-client';
import { createHttpServer } from '../admin-api/http/http-server.ts';
import type { OpenApiDocument, OpenApiOperation, OpenApiSchema } from '../admin-api/http/openapi.ts';
import type { HttpServices } from '../admin-api/http/services.ts';
import { PROBLEM_CODES, Problem } from '../admin-api/problems.ts';
import { bounds, cell, membersOf, typeOf } from './api-schema-text.ts';
import type { GeneratedFile } from './generated-file.ts';

export const apiReference: GeneratedFile = {
  file: 'docs/api.md',
  generate: async () => `${toMarkdown(await readDocument()).join('\n')}\n`,
};

/** The document as a server without a base path serves it. Routes are registered but never called. */
export async function readDocument(): Promise<OpenApiDocument> {
  const services = {
    store: { apiTokens: {}, events: {} },
    registry: new Registry(),
    now: Date.now,
    log: pino({ level: 'silent' }),
  } as unknown as HttpServices;
  const app = await createHttpServer(services, { version: '', compileAtOnce: true });
  await app.ready();
  const document = app.swagger() as unknown as OpenApiDocument;
  await app.close();
  return document;
}

function toMarkdown(document: OpenApiDocument): string[] {
  return [
    '# HTTP API',
    '',
    'Generated from `admin-api/http/schemas/` and `admin-api/http/routes/`; change it there and run',
    '`npm run build && node dist/scripts/generate.js`. A running administration server serves the same as',
    'OpenAPI 3.1 at `/openapi.json`, and as an interactive page at `/docs`.',
    '',
    document.info.description,
    '',
    'Send an API token with every request that is not open: `Authorization: Bearer ppt_...`. Each operation',
    'names the role it needs. An operator may do what a viewer may, an admin everything.',
    '',
    ...document.tags.flatMap(({ name, description }) => [
      `## ${name}`,
      '',
      description,
      '',
      ...operationsOf(document, name).flatMap((found) => describeOperation(...found)),
    ]),
    ...describeSchemas(document),
    ...describeProblems(),
  ];
}

function operationsOf(document: OpenApiDocument, tag: string): [string, OpenApiOperation][] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.tags.includes(tag))
      .map(([method, operation]): [string, OpenApiOperation] => [
        `${method.toUpperCase()} ${path}`,
        operation,
      ]),
  );
}

function describeOperation(what: string, operation: OpenApiOperation): string[] {
  const { summary, description, parameters = [], requestBody } = operation;
  const role = operation['x-role'];
  const body = requestBody && Object.values(requestBody.content)[0]?.schema;
  return [
    `### ${what}`,
    '',
    `${summary}. ${role === undefined ? 'Open.' : `Role: ${role}.`}`,
    '',
    ...(description === undefined ? [] : [description, '']),
    ...(parameters.length === 0
      ? []
      : [
          '| parameter | in | type | |',
          '|---|---|---|---|',
          ...parameters.map(
            ({ name, in: where, required, schema, description: text }) =>
              `| \`${name}\`${required ? '' : ' (optional)'} | ${where} | ` +
              `${cell(typeOf(schema) + bounds(schema))} | ${cell(text ?? '')} |`,
          ),
          '',
        ]),
    ...(body ? [`Body: ${typeOf(body)}${requestBody?.required === false ? ' (optional)' : ''}.`, ''] : []),
    ...describeAnswers(operation),
  ];
}

function describeAnswers({ responses }: OpenApiOperation): string[] {
  const answers = Object.entries(responses);
  const isProblem = ([, { content }]: (typeof answers)[number]) =>
    content !== undefined && 'application/problem+json' in content;
  const lines = answers
    .filter((answer) => !isProblem(answer))
    .map(([status, { description, content }]) => {
      const schema = Object.values(content ?? {})[0]?.schema;
      return `- ${status}: ${description}${schema ? ` ${capitalize(typeOf(schema))}.` : ''}`;
    });
  const problems = answers.filter(isProblem).flatMap(([status, { description }]) => {
    const codes = [...description.matchAll(/`[^`]+`/g)].map(([code]) => code);
    return codes.map((code) => `${status} ${code}`);
  });
  return [...lines, `- Problems: ${problems.join(', ')}.`, ''];
}

function describeSchemas({ components }: OpenApiDocument): string[] {
  const sections = Object.entries(components.schemas).flatMap(([name, schema]) => [
    `### ${name}`,
    '',
    ...(schema.description === undefined ? [] : [String(schema.description), '']),
    ...describeMembers(schema),
  ]);
  return ['## Schemas', '', ...sections];
}

function describeMembers(schema: OpenApiSchema): string[] {
  if (schema.discriminator && schema.oneOf) {
    const { propertyName, mapping = {} } = schema.discriminator;
    return [
      `One of these, told apart by \`${propertyName}\`:`,
      '',
      ...Object.entries(mapping).map(([value, $ref]) => `- \`${value}\`: ${typeOf({ $ref })}`),
      '',
    ];
  }
  return [
    '| member | type | |',
    '|---|---|---|',
    ...membersOf(schema).map(
      ({ name, optional, schema: member }) =>
        `| \`${name}\`${optional ? ' (optional)' : ''} | ${cell(typeOf(member) + bounds(member))} | ` +
        `${cell(String(member.description ?? ''))} |`,
    ),
    '',
    ...((schema.examples as unknown[] | undefined) ?? []).flatMap((example) => [
      '```json',
      JSON.stringify(example),
      '```',
      '',
    ]),
  ];
}

function describeProblems(): string[] {
  return [
    '## Problems',
    '',
    '| `code` | status |',
    '|---|---|',
    ...PROBLEM_CODES.map((code) => `| \`${code}\` | ${new Problem(code, '').status} |`),
  ];
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
