import { script } from '../script.ts';

/**
 * Appends one batch of receipts.
 *
 * KEYS 1 receipts
 * ARGV 1 most entries the stream may hold, 2 encoded batch, 3 installation of those that say it, or ''
 * Result: 1 appended, -1 full
 */
export const appendReceipts = script(`
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then return -1 end
redis.call('XADD', KEYS[1], '*', 'b', ARGV[2], 'i', ARGV[3])
return 1
`);
