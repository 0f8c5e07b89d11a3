import { script } from '../script.ts';

/**
 * Removes devices of one shard that are still held as named (compare-and-delete).
 *
 * KEYS 1 presence of the shard
 * ARGV for each: device, '<incarnation> <session>'
 * Result: devices removed
 */
export const releasePresence = script(`
local removed = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    removed = removed + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return removed
`);
