import { script } from '../script.ts';

/**
 * Puts and removes devices in a shard of the directory. Every value begins with the generation it was written
 * in, 12 characters, and its digest, 12 hexadecimal digits; beside them the shard keeps how many there are
 * and the sum of their digests modulo 2^48, for all (count, digest) and for those of the writing under way
 * (fresh, fresh digest), and a version that grows with every change.
 *
 * KEYS 1 directory of the shard
 * ARGV 1 installation, 2 generation that is being written or '' for a change, then for each device: id,
 * digest or '' to remove it, value
 * Result: 1 done, 0 that writing is over, 2 nobody wrote this shard yet: nothing done, 3 another
 * installation's
 */
export const writeDirectory = script(`
local state = redis.call('HMGET', KEYS[1], ' mark', ' writing', ' counts')
local writing, writer, touched
if state[2] then writing, writer, touched = string.match(state[2], '^(%S+) (%S+) (%d+)$') end
local generation, owner
if state[1] then generation, owner = string.match(state[1], '^(%S+) (%S+) ') end
local stamp
if ARGV[2] ~= '' then
  if writing ~= ARGV[2] or not state[3] then return 0 end
  stamp = writing
elseif writing and writer == ARGV[1] then stamp = writing
elseif generation and owner == ARGV[1] then stamp = generation
elseif writing or generation then return 3
end
if not stamp or not state[3] then return 2 end

local modulus = 281474976710656
local count, digest, version, fresh, freshDigest = string.match(state[3], '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
count, digest, version = tonumber(count), tonumber(digest), tonumber(version)
fresh, freshDigest = tonumber(fresh), tonumber(freshDigest)
local ids, puts, removals = {}, {}, {}
for i = 3, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
local before = redis.call('HMGET', KEYS[1], unpack(ids))
for i, old in ipairs(before) do
  local at = 3 * i
  if old then
    local its = tonumber(string.sub(old, 13, 24), 16) or 0
    count, digest = count - 1, (digest - its) % modulus
    if writing and string.sub(old, 1, 12) == writing then
      fresh, freshDigest = fresh - 1, (freshDigest - its) % modulus
    end
  end
  if ARGV[at + 1] ~= '' then
    local its = tonumber(ARGV[at + 1], 16)
    count, digest = count + 1, (digest + its) % modulus
    if stamp == writing then fresh, freshDigest = fresh + 1, (freshDigest + its) % modulus end
    puts[#puts + 1] = ARGV[at]
    puts[#puts + 1] = stamp .. ARGV[at + 1] .. ARGV[at + 2]
  elseif old then
    removals[#removals + 1] = ARGV[at]
  end
end
if #removals > 0 then redis.call('HDEL', KEYS[1], unpack(removals)) end
puts[#puts + 1] = ' counts'
puts[#puts + 1] = string.format('%.0f %.0f %.0f %.0f %.0f', count, digest, version + 1, fresh, freshDigest)
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  puts[#puts + 1] = ' writing'
  local milliseconds = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  puts[#puts + 1] = writing .. ' ' .. ARGV[1] .. ' ' .. milliseconds
end
redis.call('HSET', KEYS[1], unpack(puts))
return 1
`);
