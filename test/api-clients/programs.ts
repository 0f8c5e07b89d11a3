/** What somebody writes with clients generated from the OpenAPI document: one program for each generator. */

/** Where the clients are generated. */
const HERE = '.';

const SURROUNDINGS = `
declare const process: { env: Record<string, string | undefined> };
declare const console: { log(text: string): void };
const { PUSHPOINT_URL: baseUrl = '', PUSHPOINT_TOKEN: token = '' } = process.env;
`;

/** Types of openapi-typescript, called through openapi-fetch. */
export const OPENAPI_TYPESCRIPT = `
import createClient from 'openapi-fetch';
import type { components, paths } from '${HERE}/openapi-typescript.js';
${SURROUNDINGS}
const api = createClient<paths>({ baseUrl, headers: { authorization: \`Bearer \${token}\` } });

const made = await api.POST('/v1/groups', { body: { name: 'By openapi-typescript' } });
if (!made.data) throw new Error(made.error.detail);
const path = { id: made.data.id };
const ifMatch = made.response.headers.get('etag') ?? '';
const rename = (name: string) =>
  api.PATCH('/v1/groups/{id}', { params: { path, header: { 'if-match': ifMatch } }, body: { name } });
const renamed = await rename('Renamed');
const stale = await rename('Renamed again');
const code: components['schemas']['Problem']['code'] | undefined = stale.error?.code;

const since = new Date(Date.now() - 3_600_000).toISOString();
const sent = await api.POST('/v1/commands', {
  params: { header: { 'idempotency-key': 'from-openapi-typescript' } },
  body: { type: 'message', args: { topic: 'notice', body: { text: 'hello' } }, target: { group: path.id } },
});
const listed = await api.GET('/v1/commands', { params: { query: { since, type: 'message', limit: 10 } } });
// @ts-expect-error: there is no such type of command
await api.POST('/v1/commands', { body: { type: 'dance', target: { all: true } } });

/** Compiles only while every event is told apart by its type. */
export function tell(event: components['schemas']['Event']): string {
  switch (event.event) {
    case 'group.created':
      return event.name;
    case 'executions':
      return event.changes.map(([command, device, state]) => command + device + state).join();
    case 'command.finished':
      return String(event.counts.total);
    default:
      return event.event;
  }
}

const listedId = listed.data?.items[0]?.id;
const name = renamed.data?.name;
console.log(JSON.stringify({ name, code, sent: sent.data?.id === listedId }));
`;

/** The client of @hey-api/openapi-ts. */
export const HEY_API = `
import { client } from '${HERE}/hey-api/client.gen.js';
import {
  changeGroup, createCommand, createGroup, listCommands, streamEvents,
} from '${HERE}/hey-api/index.js';
${SURROUNDINGS}
client.setConfig({ baseUrl, auth: token });

const made = await createGroup({ body: { name: 'By openapi-ts' }, throwOnError: true });
const path = { id: made.data.id };
const headers = { 'if-match': made.response.headers.get('etag') ?? '' };
const renamed = await changeGroup({ path, headers, body: { name: 'Renamed by openapi-ts' } });
const stale = await changeGroup({ path, headers, body: { name: 'Renamed again' } });
const code = stale.error?.code;

const since = new Date(Date.now() - 3_600_000).toISOString();
const sent = await createCommand({
  headers: { 'idempotency-key': 'from-openapi-ts' },
  body: { type: 'sync', target: { group: path.id } },
});
const listed = await listCommands({ query: { since, type: 'sync', limit: 10 } });
// @ts-expect-error: there is no such type of command
await createCommand({ body: { type: 'dance', target: { all: true } } });

let event: string | undefined;
const leave = new AbortController();
const { stream } = await streamEvents({ query: { after: 0 }, signal: leave.signal });
for await (const each of stream) {
  if (each.event !== 'group.renamed' || each.id !== path.id) continue;
  event = each.name;
  break;
}
leave.abort();

const listedId = listed.data?.items[0]?.id;
const name = renamed.data?.name;
console.log(JSON.stringify({ name, code, sent: sent.data?.id === listedId, event }));
`;
