/**
 * Entity tags (RFC 9110, section 8.8.3) of objects that operators change. A tag covers what they set, not
 * what is measured: a device that connects keeps its tag.
 */
import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import { Problem } from '../problems.ts';
import type { Device, Gateway, Group } from '../store/records.ts';

export const ETAG_HEADER = {
  etag: {
    type: 'string',
    description: 'Tag of what operators set; send it as `If-Match` with a later change.',
  },
};

export const IfMatchHeaders = Type.Object({
  'if-match': Type.Optional(
    Type.String({
      maxLength: 1_024,
      pattern: '^(\\*|(W/)?"[^"]*"([ \\t]*,[ \\t]*(W/)?"[^"]*")*)$',
      description: 'Change it only if its `ETag` is one of these; otherwise the answer is 412.',
    }),
  ),
});

export type IfMatch = { 'if-match'?: string };

export function groupTag({ id, name, path, createdAt }: Group): string {
  return tagOf(['group', id, name, path, createdAt]);
}

export function deviceTag({ id, name, groupId, blockedAt, createdAt }: Device): string {
  return tagOf(['device', id, name, groupId, blockedAt, createdAt]);
}

/** A gateway's revision grows with every change, including drains. */
export function gatewayTag({ name, revision, createdAt }: Pick<Gateway, 'name' | 'revision' | 'createdAt'>) {
  return tagOf(['gateway', name, revision, createdAt]);
}

/** A check that services make inside their transaction; throws `Problem` if the record has changed. */
export function expecting<T>({ 'if-match': wanted }: IfMatch, tag: (record: T) => string) {
  if (wanted === undefined || wanted === '*') return undefined;
  // The strong comparison: a weak tag never matches.
  const tags = new Set(wanted.match(/(W\/)?"[^"]*"/g));
  return (record: T): void => {
    if (tags.has(tag(record))) return;
    throw new Problem(
      'precondition-failed',
      'It has changed meanwhile: read it again to get its current ETag.',
    );
  };
}

function tagOf(parts: readonly (string | number | null)[]): string {
  return `"${createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 22)}"`;
}
