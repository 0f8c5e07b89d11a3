import { Type } from 'typebox';
import { closed, Id, Time } from './common.ts';

export const EventQuery = Type.Object(
  {
    after: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description:
          'Begin after this event number; 0 for all stored events. `Last-Event-ID` takes precedence.',
      }),
    ),
    since: Type.Optional(
      Time('Begin with events of this time or later; `after` and `Last-Event-ID` take precedence.'),
    ),
    type: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: '^[a-z.-]+$',
        description: 'Only events whose type begins with this.',
        examples: ['command.'],
      }),
    ),
    command: Type.Optional(Id('Only events of this command.', 'c01jb3v8x5c0k2m5n9r3')),
  },
  closed,
);

export const EventHeaders = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({
      pattern: '^(0|[1-9][0-9]{0,15})$',
      description: 'Number of the last event seen; the stream continues after it.',
    }),
  ),
});
