import { script } from '../script.ts';

/**
 * Begins to write a shard of the directory. Its contents stay, unless the caller clears them, they are not
 * whole, or they belong to another installation.
 *
 * KEYS 1 directory of the shard
 * ARGV 1 installation, 2 generation, 3 milliseconds after which an unfinished writing is given up, 4 '1' to
 * clear, 5 generation of the caller's last writing or '': that one is over
 * Result: 1 begun, 0 somebody else is writing
 */
export const beginDirectory = script(`
local state = redis.call('HMGET', KEYS[1], ' mark', ' writing', ' counts')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if state[2] then
  local writing, owner, touched = string.match(state[2], '^(%S+) (%S+) (%d+)$')
  local recent = math.abs(now - tonumber(touched)) < tonumber(ARGV[3])
  if owner == ARGV[1] and writing ~= ARGV[5] and recent then return 0 end
end
local own = state[1] and string.match(state[1], '^%S+ (%S+) ') == ARGV[1]
local count, digest, version
if state[3] then count, digest, version = string.match(state[3], '^(%d+) (%d+) (%d+) ') end
if ARGV[4] == '1' or not own or not count then
  redis.call('UNLINK', KEYS[1])
  count, digest, version = 0, 0, 0
end
redis.call('HSET', KEYS[1],
  ' writing', ARGV[2] .. ' ' .. ARGV[1] .. ' ' .. string.format('%.0f', now),
  ' counts', count .. ' ' .. digest .. ' ' .. version .. ' 0 0')
return 1
`);
