import { script } from '../script.ts';

/**
 * Marks a shard of the directory as whole if this write is still the current one and wrote every device in
 * the shard. If anything else emptied the shard or wrote into it meanwhile, the counts differ.
 *
 * KEYS 1 directory of the shard
 * ARGV 1 generation, 2 mark: '<generation> <installation> <epoch> <history>'
 * Result: 1 whole, 0 that writing is over, 2 there are devices of earlier generations
 */
export const finishDirectory = script(`
local state = redis.call('HMGET', KEYS[1], ' mark', ' writing', ' counts')
if not state[2] or not state[3] or string.match(state[2], '^(%S+) ') ~= ARGV[1] then return 0 end
local devices = redis.call('HLEN', KEYS[1]) - 2
if state[1] then devices = devices - 1 end
local version, fresh, freshDigest = string.match(state[3], '^%d+ %d+ (%d+) (%d+) (%d+)$')
if tonumber(fresh) > devices then return 0 end
if tonumber(fresh) < devices then return 2 end
redis.call('HDEL', KEYS[1], ' writing')
redis.call('HSET', KEYS[1], ' mark', ARGV[2],
  ' counts', fresh .. ' ' .. freshDigest .. ' ' .. (version + 1) .. ' 0 0')
return 1
`);
