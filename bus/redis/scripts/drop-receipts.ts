import { script } from '../script.ts';

/**
 * Acknowledges entries that were applied and drops them.
 *
 * KEYS 1 receipts, 2 bytes of the batches in there
 * ARGV 1 group, then for each entry its id and the bytes of its batch (at most a few hundred)
 * Result: entries dropped
 */
export const dropReceipts = script(`
local dropped = 0
local bytes = 0
for i = 2, #ARGV, 2 do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    dropped = dropped + 1
    bytes = bytes + ARGV[i + 1]
  end
end
redis.call('DECRBY', KEYS[2], string.format('%d', bytes))
return dropped
`);
