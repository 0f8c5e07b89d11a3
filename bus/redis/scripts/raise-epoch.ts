import { script } from '../script.ts';

/**
 * Raises the epoch: a program of the installation has seen a later one than Redis holds.
 *
 * KEYS 1 installation (hash: id, epoch, seal: MAC of the epoch, seen)
 * ARGV 1 installation, 2 epoch, 3 its MAC or ''
 * Result: 1 raised, 0 not
 */
export const raiseEpoch = script(`
local held = redis.call('HMGET', KEYS[1], 'id', 'epoch')
if held[1] ~= ARGV[1] or (tonumber(held[2] or '') or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'seal', ARGV[3])
return 1
`);
