import { script } from '../script.ts';

/**
 * Extends a lease that has not expired, with its outbox.
 *
 * KEYS 1 lease, 2 epoch, 3 outbox
 * ARGV 1 time to live in ms, 2 encoded load, 3 MAC
 * Result: when the lease ends, ms of Redis' clock; 0 when there is no such lease any more
 */
export const extendLease = script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'load', ARGV[2], 'seal', ARGV[3])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
local time = redis.call('TIME')
return time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
`);
