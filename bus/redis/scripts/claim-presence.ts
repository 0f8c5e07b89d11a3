import { script } from '../script.ts';

/**
 * Claims the devices of one shard. Session numbers are microseconds of Redis' clock, and always above the
 * highest that the shard or the claimant knows, so that they grow even when the clock is set back. A highest
 * number that is more than an hour ahead was forged and is ignored, and so is a holder that no claim wrote.
 *
 * At most 1,000 claims in one call (what Lua can pass to one command).
 *
 * KEYS 1 presence of the shard
 * ARGV 1 incarnation, 2 field with the highest session, then for each claim: device, held session or ''
 * Result: for each claim session, previous incarnation, previous session, each as text; '' for none. The
 * session is '' when a newer one holds the device.
 */
export const claimPresence = script(`
local fields = {ARGV[2]}
for i = 3, #ARGV, 2 do fields[#fields + 1] = ARGV[i] end
local stored = redis.call('HMGET', KEYS[1], unpack(fields))
local time = redis.call('TIME')
local session = time[1] * 1000000 + time[2]
local highest = tonumber(stored[1] or 0) or 0
if highest < session + 3600000000 then session = math.max(session, highest + 1) end
local result, changes, changed = {}, {}, {}
for i = 2, #fields do
  local device, held = fields[i], tonumber(ARGV[2 * i])
  local holder = changed[device] or stored[i]
  local previous, previousSession = string.match(holder or '', '^(%S+) (%d+)$')
  local text = ''
  if not (held and previous and tonumber(previousSession) > held) then
    if held then session = math.max(session, held + 1) end
    text = string.format('%.0f', session)
    session = session + 1
    changed[device] = ARGV[1] .. ' ' .. text
    changes[#changes + 1] = device
    changes[#changes + 1] = changed[device]
  end
  result[#result + 1] = text
  result[#result + 1] = previous or ''
  result[#result + 1] = previousSession or ''
end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', session), unpack(changes))
return result
`);
