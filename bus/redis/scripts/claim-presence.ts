import { script } from '../script.ts';

/**
 * Takes the devices of one shard. Session numbers are microseconds of Redis' clock, and never less than one above the
 * highest that the shard or the claimant knows, so that they grow when the clock is set back.
 *
 * KEYS 1 presence of the shard
 * ARGV 1 incarnation, 2 field with the highest session, then for each claim: device, held session or ''
 * Result: for each claim session, previous incarnation, previous session, each as text; '' for none. The session is ''
 * when a newer one holds the device.
 */
export const claimPresence = script(`
local time = redis.call('TIME')
local session = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0)
if session <= last then session = last + 1 end
local result = {}
local current = {}
for i = 3, #ARGV, 2 do
  local device, held = ARGV[i], tonumber(ARGV[i + 1])
  local holder = current[device] or redis.call('HGET', KEYS[1], device)
  local previous, previousSession = '', ''
  if holder then previous, previousSession = string.match(holder, '^(%S+) (%d+)$') end
  if held and holder and tonumber(previousSession) > held then
    result[#result + 1] = ''
  else
    if held and session <= held then session = held + 1 end
    local text = string.format('%.0f', session)
    current[device] = ARGV[1] .. ' ' .. text
    redis.call('HSET', KEYS[1], device, current[device])
    result[#result + 1] = text
    session = session + 1
  end
  result[#result + 1] = previous
  result[#result + 1] = previousSession
end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', session))
return result
`);
