import { script } from '../script.ts';

/**
 * How long ago the oldest remaining batch of receipts was appended, by the server's own clock.
 *
 * KEYS 1 receipts
 * Result: milliseconds; 0 when there is none, below 0 when the clock went back since
 */
export const oldestReceipts = script(`
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if not oldest then return 0 end
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(string.match(oldest[1], '^%d+'))
`);
