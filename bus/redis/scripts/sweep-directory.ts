import { script } from '../script.ts';

/**
 * Removes devices of earlier generations from a shard of the directory that is being written, some hundreds
 * at a time.
 *
 * KEYS 1 directory of the shard
 * ARGV 1 generation, 2 cursor
 * Result: the next cursor, '0' at the end; '' when that writing is over
 */
export const sweepDirectory = script(`
local state = redis.call('HMGET', KEYS[1], ' writing', ' counts')
if not state[1] or not state[2] or string.match(state[1], '^(%S+) ') ~= ARGV[1] then return '' end
local count, digest, version, rest = string.match(state[2], '^(%d+) (%d+) (%d+) (.*)$')
count, digest = tonumber(count), tonumber(digest)
local scanned = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', 300)
local gone = {}
for i = 1, #scanned[2], 2 do
  local id, value = scanned[2][i], scanned[2][i + 1]
  if string.sub(id, 1, 1) ~= ' ' and string.sub(value, 1, 12) ~= ARGV[1] then
    gone[#gone + 1] = id
    count = count - 1
    digest = (digest - (tonumber(string.sub(value, 13, 24), 16) or 0)) % 281474976710656
  end
end
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
  redis.call('HSET', KEYS[1], ' counts',
    string.format('%.0f %.0f %.0f ', math.max(count, 0), digest, version + 1) .. rest)
end
return scanned[1]
`);
