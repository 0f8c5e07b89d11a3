import { type Static, Type } from 'typebox';
import { Count, closed, Nullable, OneOf, pageQuery, Time } from './common.ts';
import { spanQuery } from './time-span.ts';

export const PageQuery = Type.Object({ ...pageQuery }, closed);
export const AuditQuery = Type.Object({ ...pageQuery, ...spanQuery('done') }, closed);

export const AuditEntrySchema = Type.Object(
  {
    seq: Count('Number of the entry.'),
    at: Time('When.'),
    actor: Type.String({ description: 'Id of the API token, or `system`.' }),
    action: Type.String({ description: 'What was done.', examples: ['device.blocked'] }),
    subject: Type.String({ description: 'What was changed.' }),
    detail: Type.Unknown({ description: 'How.' }),
  },
  { $id: 'AuditEntry', ...closed, description: 'Who changed what.' },
);
export type AuditEntryDocument = Static<typeof AuditEntrySchema>;

export const StatusSchema = Type.Object(
  {
    version: Type.String({ description: 'Version of Pushpoint it runs.' }),
    store: Type.Object(
      { kind: OneOf(['sqlite', 'postgres'] as const, { description: 'The kind of database.' }) },
      { ...closed, description: 'The database.' },
    ),
    bus: Type.Object(
      {
        available: Type.Boolean(),
        since: Time('Since when this has been so.'),
        reason: Type.Optional(Type.String({ description: 'Why it is not available.' })),
        parts: Type.Optional(
          Type.Array(
            Type.Object(
              {
                name: OneOf(['commands', 'subscription', 'receipts'] as const),
                server: Type.String({ description: 'Host and port.' }),
                ok: Type.Boolean(),
                since: Time('Since when this has been so.'),
                reason: Type.Optional(Type.String({ description: 'Why it does not work.' })),
              },
              closed,
            ),
            { description: 'Its connections to Redis.' },
          ),
        ),
        warnings: Type.Optional(
          Type.Array(Type.String(), { description: 'Settings of Redis that you should change.' }),
        ),
      },
      { ...closed, description: 'The bus between administration servers and gateways.' },
    ),
    installation: Type.Object(
      {
        id: Type.String({ description: 'Created with the database.' }),
        epoch: Count('Grows when an older copy of the database is restored.'),
      },
      {
        ...closed,
        description: 'The installation of this server: one database and all programs that work for it.',
      },
    ),
    directory: Type.Object(
      {
        generation: Nullable(
          Type.String({ description: 'Generation of the directory; `null` while it is not whole.' }),
        ),
        devices: Count('Entries in it, those of canaries included.'),
        writing: Type.Boolean({ description: 'Whether an administration server is writing all of it now.' }),
        problem: Type.Optional(Type.String({ description: 'Why it is not whole.' })),
      },
      { ...closed, description: 'The copy of devices and gateways by which gateways admit devices.' },
    ),
    warnings: Type.Array(Type.String(), { description: 'What a person should check.' }),
    receiptsBacklog: Nullable(Count('Batches of receipts not applied yet; `null` while the bus is away.')),
    devices: Type.Object(
      { total: Count('Enrolled.'), connected: Count('Connected and not blocked.') },
      { ...closed, description: 'How many devices there are.' },
    ),
    coverage: Type.Object(
      {
        total: Count('How many groups.'),
        groups: Type.Array(
          Type.Object(
            {
              groupId: Type.String({ examples: ['berlin'] }),
              devices: Count('Devices directly in this group.'),
              gateways: Type.Array(Type.String(), { description: 'The usable gateway, if there is one.' }),
            },
            closed,
          ),
          { description: 'Those with the most devices, 100 at most.' },
        ),
      },
      { ...closed, description: 'Groups with devices and fewer than two usable gateways.' },
    ),
    openCommands: Count('Commands with an execution that is not final; counted up to 1,000.'),
  },
  { $id: 'Status', ...closed, description: 'State of the administration server.' },
);
export type StatusDocument = Static<typeof StatusSchema>;
