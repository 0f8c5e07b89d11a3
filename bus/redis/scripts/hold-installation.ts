import { script } from '../script.ts';

/**
 * Whose the bus is, and its highest epoch. With an installation in ARGV, it becomes that one's where it is
 * nobody's, or where it may be taken over and its holder has not been heard of for the time given.
 *
 * KEYS 1 installation (hash: id, epoch, seen)
 * ARGV 1 installation or '' to ask only, 2 epoch, 3 after how many milliseconds it may be taken over; 0 never
 * Result: installation or '', epoch, each as text
 */
export const holdInstallation = script(`
local held = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'seen')
if ARGV[1] == '' then return {held[1] or '', held[2] or '0'} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = tonumber(ARGV[2])
if held[1] == ARGV[1] then
  epoch = math.max(epoch, tonumber(held[2]) or 0)
elseif held[1] then
  local gone = math.abs(now - (tonumber(held[3]) or 0)) > tonumber(ARGV[3])
  if ARGV[3] == '0' or not gone then return {held[1], held[2] or '0'} end
end
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'epoch', epoch, 'seen', string.format('%.0f', now))
return {ARGV[1], tostring(epoch)}
`);
