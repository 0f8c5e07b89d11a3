import { script } from '../script.ts';

/**
 * How far the stream of receipts has come.
 *
 * KEYS 1 receipts
 * Result: id of the entry that was added last, of the oldest that is still there; '' for none
 */
export const receiptsProgress = script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return {'', ''} end
local last, oldest = '', redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
return {last, oldest and oldest[1] or ''}
`);
