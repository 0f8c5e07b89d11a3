import { script } from '../script.ts';

/**
 * Reads how far the stream of receipts has been consumed.
 *
 * KEYS 1 receipts, 2 name of the stream
 * ARGV 1 a name for it if it has none: Redis is new, or was emptied
 * Result: id of the entry that was added last, of the oldest that is still there, '' for none; the name
 */
export const receiptsProgress = script(`
local name = redis.call('GET', KEYS[2])
if not name then
  name = ARGV[1]
  redis.call('SET', KEYS[2], name)
end
if redis.call('EXISTS', KEYS[1]) == 0 then return {'', '', name} end
local last, oldest = '', redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
return {last, oldest and oldest[1] or '', name}
`);
