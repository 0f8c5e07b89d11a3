import type { DirectoryState } from '../../../bus/bus.ts';
import { type App, operation } from '../operation.ts';
import { presentAuditEntry, presentPage, time } from '../presenters.ts';
import { PageOf, Ref } from '../schemas/common.ts';
import { AuditEntrySchema, AuditQuery, type StatusDocument, StatusSchema } from '../schemas/operations.ts';
import { spanOf } from '../schemas/time-span.ts';
import type { HttpOptions, HttpServices } from '../services.ts';

const OPEN_COMMANDS_MAX = 1000;

export function statusRoutes(app: App, services: HttpServices, { version }: HttpOptions): void {
  const { store } = services;
  app.get(
    '/v1/status',
    operation({
      access: 'viewer',
      operationId: 'getStatus',
      tag: 'Administration',
      summary: 'Read the state of the server',
      answers: { 200: { description: 'The state.', schema: Ref(StatusSchema) } },
    }),
    async () => status(services, version),
  );

  app.get(
    '/v1/audit',
    operation({
      access: 'admin',
      operationId: 'listAudit',
      tag: 'Administration',
      summary: 'List who changed what',
      querystring: AuditQuery,
      answers: { 200: { description: 'One page, the newest first.', schema: PageOf(Ref(AuditEntrySchema)) } },
    }),
    async (request) => {
      const { limit, cursor } = request.query;
      const page = await store.audit.list({ limit, cursor, ...spanOf(request.query) });
      return presentPage(page, presentAuditEntry);
    },
  );
}

async function status(services: HttpServices, version: string): Promise<StatusDocument> {
  const { store, bus, directory, coverage, health } = services;
  const { available, since, reason, parts, warnings } = bus.status();
  // While the bus is away, the rest is still worth reporting.
  const receiptsBacklog = available ? await bus.receipts.backlog().catch(() => null) : null;
  const [total, connected, open, thin] = await Promise.all([
    store.devices.count({}),
    store.devices.count({ state: 'connected' }),
    store.commands.list({ state: 'open' }, { limit: OPEN_COMMANDS_MAX }),
    coverage(),
  ]);
  return {
    version,
    store: { kind: store.kind },
    bus: {
      available,
      since: time(since),
      ...(reason !== undefined && { reason }),
      ...(parts !== undefined && { parts: parts.map((part) => ({ ...part, since: time(part.since) })) }),
      ...(warnings !== undefined && { warnings }),
    },
    installation: directory.installation,
    directory: presentDirectory(directory.state),
    warnings: health.warnings(),
    receiptsBacklog,
    devices: { total, connected },
    coverage: thin,
    openCommands: open.items.length,
  };
}

function presentDirectory({
  generation,
  devices,
  writing,
  problem,
}: DirectoryState): StatusDocument['directory'] {
  return { generation, devices, writing, ...(problem !== undefined && { problem }) };
}
