import { script } from '../script.ts';

/**
 * Creates a lease and the epoch of its (still empty) outbox; both expire after the time to live.
 *
 * KEYS 1 lease, 2 epoch
 * ARGV 1 time to live in ms, 2 encoded identity, 3 encoded load, 4 epoch, 5 MAC
 * Result: when the lease ends, ms of Redis' clock
 */
export const acquireLease = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'identity', ARGV[2], 'load', ARGV[3], 'since', string.format('%.0f', now),
  'seal', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[1])
return now + ARGV[1]
`);
