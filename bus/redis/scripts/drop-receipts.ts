import { script } from '../script.ts';

/**
 * Acknowledges entries that were applied and drops them.
 *
 * KEYS 1 receipts
 * ARGV 1 group, 2... ids (at most a few hundred)
 * Result: entries dropped
 */
export const dropReceipts = script(`
local ids = {unpack(ARGV, 2)}
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return redis.call('XDEL', KEYS[1], unpack(ids))
`);
