import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sortableId } from '../../admin-api/sortable-id.ts';
import { ID_PATTERN } from '../../protocol/index.ts';

test('ids sort by creation time, even within a millisecond and after the clock steps back', () => {
  const now = Date.now();
  const times = [...Array(2000).fill(now), now - 3_600_000, now - 1, now, now + 5, now + 3_600_000];
  const ids = times.map((time) => sortableId('c', time));
  assert.equal([...ids].sort(), ids);
  assert.is(new Set(ids).size, ids.length);
});

test('F-6: an id is an identifier of the protocol', () => {
  const id = sortableId('c');
  assert.match(id, ID_PATTERN);
  assert.is(id.length, 20);
});

test.run();
