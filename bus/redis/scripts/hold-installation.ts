import { script } from '../script.ts';

/**
 * Reads which installation holds the bus, and its highest epoch. With an installation in ARGV, the bus
 * becomes that installation's if nobody holds it, or if a takeover is allowed and its holder has been silent
 * for the time given. An invalid epoch counts as none.
 *
 * KEYS 1 installation (hash: id, epoch, seal: MAC of the epoch, seen)
 * ARGV 1 installation or '' to ask only, 2 epoch, 3 its MAC or '', 4 after how many milliseconds it may be
 * taken over; 0 never
 * Result: installation or '', epoch, MAC or '', each as text
 */
export const holdInstallation = script(`
local held = redis.call('HMGET', KEYS[1], 'id', 'epoch', 'seen', 'seal')
local epoch = tonumber(held[2] or '') or 0
if epoch ~= epoch or epoch > 9007199254740991 then epoch = 0 end
local result = {held[1] or '', string.format('%.0f', epoch), held[4] or ''}
if ARGV[1] == '' then return result end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if held[1] == ARGV[1] then
  if epoch > tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'seen', string.format('%.0f', now))
    return result
  end
elseif held[1] then
  local gone = math.abs(now - (tonumber(held[3]) or 0)) > tonumber(ARGV[4])
  if ARGV[4] == '0' or not gone then return result end
end
local seen = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'epoch', ARGV[2], 'seal', ARGV[3], 'seen', seen)
return {ARGV[1], ARGV[2], ARGV[3]}
`);
