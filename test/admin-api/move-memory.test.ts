import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MoveMemory } from '../../admin-api/balance/move-memory.ts';

const SLICE = { groupId: 'all', groupPath: '/all/', near: '' };

test('a device that was moved just now is sent away from outside its scope all the same', () => {
  const memory = new MoveMemory(600_000);
  memory.moved('d1', { from: 'gw1', to: 'gw2', slice: SLICE, at: 0 });
  assert.ok(memory.rests('d1'));
  assert.not(memory.wasSentAway('d1'));
});

test('a device that was sent away and stayed is sent away again after 15 s', () => {
  const memory = new MoveMemory(600_000);
  memory.sentAway('d1', 0);
  memory.forgetOld(14_999);
  assert.ok(memory.wasSentAway('d1'));
  memory.forgetOld(15_000);
  assert.not(memory.wasSentAway('d1'));
});

test.run();
