import { script } from '../script.ts';

/**
 * Stores a request to join, after removing those that have expired.
 *
 * KEYS 1 requests, 2 their times
 * ARGV 1 id, 2 request, 3 most requests, 4 milliseconds one may wait
 * Result: 1 left there, 0 too many wait
 */
export const askToJoin = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #known, 2 do
  if tonumber(known[i + 1]) <= now - ARGV[4] then
    redis.call('ZREM', KEYS[2], known[i])
    redis.call('HDEL', KEYS[1], known[i])
  end
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
`);
