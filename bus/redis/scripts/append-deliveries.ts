import { script } from '../script.ts';

/**
 * Appends deliveries to an outbox in order and announces them once. The outbox never outlives its lease.
 *
 * KEYS 1 lease, 2 outbox
 * ARGV 1 most entries the outbox may hold, 2 PUBLISH or SPUBLISH, 3 channel of the hint, then for each:
 * encoded delivery, MAC of those since the last MAC or ''
 * Result: 1 appended, 0 no such lease, -1 full
 */
export const appendDeliveries = script(`
local left = redis.call('PTTL', KEYS[1])
if left <= 0 then return 0 end
local waiting = redis.call('XLEN', KEYS[2])
if waiting + (#ARGV - 3) / 2 > tonumber(ARGV[1]) then return -1 end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('XADD', KEYS[2], '*', 'd', ARGV[i])
  else redis.call('XADD', KEYS[2], '*', 'd', ARGV[i], 's', ARGV[i + 1]) end
end
if waiting == 0 then redis.call('PEXPIRE', KEYS[2], left) end
redis.call(ARGV[2], ARGV[3], '')
return 1
`);
