import { script } from '../script.ts';

/**
 * Appends one batch of receipts.
 *
 * KEYS 1 receipts, 2 bytes of the batches in there
 * ARGV 1 most entries the stream may hold, 2 encoded batch, 3 installation of those that say it, or '', 4
 * most bytes, 5 MAC or ''
 * Result: 1 appended, -1 full
 */
export const appendReceipts = script(`
local entries = redis.call('XLEN', KEYS[1])
if entries >= tonumber(ARGV[1]) then return -1 end
if entries == 0 then
  -- A full Redis refuses a script only at its first write: DEL is one that it always takes.
  redis.call('SET', KEYS[2], #ARGV[2])
else
  if tonumber(redis.call('GET', KEYS[2]) or '0') + #ARGV[2] > tonumber(ARGV[4]) then return -1 end
  redis.call('INCRBY', KEYS[2], #ARGV[2])
end
redis.call('XADD', KEYS[1], '*', 'b', ARGV[2], 'i', ARGV[3], 's', ARGV[5])
return 1
`);
