import { type Static, Type } from 'typebox';
import { Count, closed, Id, Name, Nullable, PLAIN_TEXT, pageQuery, Time } from './common.ts';

export const GroupSchema = Type.Object(
  {
    id: Id('Identifier of the group.', 'berlin'),
    name: Name('Name for people.', 'Berlin'),
    parentId: Nullable(Id('The group it is in; `null` for the root.', 'emea')),
    path: Type.String({
      description: 'Ids from the root to this group, each followed by `/`.',
      examples: ['all/emea/berlin/'],
    }),
    devices: Count('Devices directly in it, without those of its subgroups.'),
    createdAt: Time('When it was created.'),
  },
  { $id: 'Group', ...closed, description: 'A group of devices; groups form one tree with the root `all`.' },
);
export type GroupDocument = Static<typeof GroupSchema>;

export const GroupQuery = Type.Object(
  {
    ...pageQuery,
    parent: Type.Optional(Id('Only groups directly in this one.', 'emea')),
    text: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        pattern: PLAIN_TEXT,
        description: 'Part of the name or id.',
      }),
    ),
  },
  closed,
);

export const GroupCreation = Type.Object(
  {
    name: Name('Name for people.', 'Berlin'),
    parentId: Type.Optional({ ...Id('The parent group.', 'emea'), default: 'all' }),
    id: Type.Optional(Id('Its identifier; generated if absent.', 'berlin')),
  },
  { title: 'GroupCreation', ...closed },
);

export const GroupChange = Type.Object(
  {
    name: Type.Optional(Name('New name.', 'Berlin')),
    parentId: Type.Optional(Id('Moves it, with everything in it, into this group.', 'emea')),
  },
  { title: 'GroupChange', minProperties: 1, ...closed },
);
