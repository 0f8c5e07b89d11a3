import { script } from '../script.ts';

/**
 * Forgets consumers that ended without leaving: they have long been silent, and hold no entries (others have
 * taken those over).
 *
 * KEYS 1 receipts
 * ARGV 1 group, 2 idle time in ms, 3 most to forget, 4 consumer to keep
 * Result: consumers forgotten
 */
export const forgetConsumers = script(`
local forgotten = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
  if facts.name ~= ARGV[4] and facts.pending == 0 and facts.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts.name)
    forgotten = forgotten + 1
    if forgotten >= tonumber(ARGV[3]) then break end
  end
end
return forgotten
`);
