import { script } from '../script.ts';

/**
 * A consumer leaves in order: entries that it received and did not begin become available to others at once,
 * and its name is forgotten unless it still holds entries.
 *
 * KEYS 1 receipts
 * ARGV 1 group, 2 consumer, 3 idle time in ms to write down, 4 consumer that stands for nobody, 5... ids not
 * begun
 * Result: 1 forgotten, 0 something is still on it
 */
export const leaveReceipts = script(`
for i = 5, #ARGV do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[4], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
end
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
`);
