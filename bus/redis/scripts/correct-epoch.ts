import { script } from '../script.ts';

/**
 * Replaces an epoch that no administration server began by the highest one of the servers that ask.
 *
 * KEYS 1 installation (hash: id, epoch, seal: MAC of the epoch, seen)
 * ARGV 1 installation, 2 the MAC that was read or '', 3 epoch, 4 its MAC
 * Result: 1 corrected, 0 something else is there by now
 */
export const correctEpoch = script(`
local held = redis.call('HMGET', KEYS[1], 'id', 'seal')
if held[1] ~= ARGV[1] or (held[2] or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'seal', ARGV[4])
return 1
`);
