import { script } from '../script.ts';

/**
 * Moves an entry that cannot be used to a stream of its own, where a person can inspect it.
 *
 * KEYS 1 receipts, 2 dead receipts, 3 bytes of the batches in the first
 * ARGV 1 group, 2 id, 3 most dead entries to keep
 * Result: 1 moved, 0 it was not there any more
 */
export const buryReceipts = script(`
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if not entry then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], '*', 'id', ARGV[2], unpack(entry[2]))
redis.call('XDEL', KEYS[1], ARGV[2])
if entry[2][1] == 'b' then redis.call('DECRBY', KEYS[3], #entry[2][2]) end
return 1
`);
