/** JSON Schema as people read it, for the reference of the HTTP API. */

import type { OpenApiSchema } from '../admin-api/http/openapi.ts';
import { ID_PATTERN } from '../protocol/index.ts';

/** A schema in a few words, with links to the schemas that have a section of their own. */
export function typeOf(schema: OpenApiSchema): string {
  const { $ref, type, anyOf, oneOf, items, prefixItems } = schema as {
    $ref?: string;
    type?: string | string[];
    anyOf?: OpenApiSchema[];
    oneOf?: OpenApiSchema[];
    items?: OpenApiSchema;
    prefixItems?: OpenApiSchema[];
  };
  if ($ref !== undefined) {
    const name = $ref.split('/').pop() ?? '';
    return `[${name}](#${name.toLowerCase().replace(/[^a-z0-9_-]/g, '')})`;
  }
  if ('const' in schema) return `\`${JSON.stringify(schema.const)}\``;
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => `\`${value}\``).join(', ');
  const forms = anyOf ?? oneOf;
  if (forms) return forms.map(typeOf).join(' or ');
  if (prefixItems) return `[${prefixItems.map(typeOf).join('; ')}]`;
  if (items) return `array of ${typeOf(items)}`;
  if (type === 'object' && schema.properties) {
    const members = membersOf(schema)
      .filter(({ name }) => !name.includes('.'))
      .map(({ name, schema: member }) => `\`${name}\`: ${typeOf(member)}`);
    return members.length === 0 ? 'empty object' : `{ ${members.join(', ')} }`;
  }
  if (schema.format === 'date-time') return 'time';
  if (schema.pattern === ID_PATTERN.source) return 'identifier';
  return type === undefined ? 'any JSON value' : [type].flat().join(' or ');
}

/** Limits and default, in parentheses; nothing when there are none. */
export function bounds(schema: OpenApiSchema): string {
  const { minimum, exclusiveMinimum, maximum, minLength, maxLength } = schema as Record<
    string,
    number | undefined
  >;
  const words: string[] = [];
  if (minimum !== undefined && maximum !== undefined) words.push(`${minimum} to ${maximum}`);
  else if (maximum !== undefined) words.push(`above ${exclusiveMinimum ?? 0}, at most ${maximum}`);
  else if (minimum !== undefined && minimum !== 0) words.push(`from ${minimum}`);
  if (maxLength !== undefined && schema.pattern !== ID_PATTERN.source) {
    words.push(`${minLength ?? 0} to ${maxLength} characters`);
  }
  if (schema.default !== undefined) words.push(`default \`${JSON.stringify(schema.default)}\``);
  return words.length === 0 ? '' : ` (${words.join('; ')})`;
}

export interface Member {
  /** With the names of the objects it is in: `late.state`. */
  name: string;
  optional: boolean;
  schema: OpenApiSchema;
}

/** The members of an object, each followed by those of the objects in it. */
export function membersOf(schema: OpenApiSchema, prefix = ''): Member[] {
  const required = (schema.required as string[] | undefined) ?? [];
  return Object.entries(schema.properties ?? {}).flatMap(([key, member]) => [
    { name: `${prefix}${key}`, optional: !required.includes(key), schema: member },
    ...(member.properties ? membersOf(member, `${prefix}${key}.`) : []),
  ]);
}

/** Text that may stand in a table. */
export function cell(text: string): string {
  return text.replaceAll('|', '\\|').replace(/\s*\n\s*/g, ' ');
}
