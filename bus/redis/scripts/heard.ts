import { script } from '../script.ts';

/**
 * Records up to when the worker's receipts were appended; never creates a lease.
 *
 * KEYS 1 lease
 * ARGV 1 milliseconds since the Unix epoch, 2 MAC
 * Result: 1 noted, 0 no such lease
 */
export const heard = script(`
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'heard', ARGV[1], 'heardSeal', ARGV[2])
return 1
`);
