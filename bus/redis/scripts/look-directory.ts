import { script } from '../script.ts';

/**
 * Reads the state of a shard of the directory.
 *
 * KEYS 1 directory of the shard
 * Result: mark, writing, counts, each '' when absent; devices in the shard, as text
 */
export const lookDirectory = script(`
local state = redis.call('HMGET', KEYS[1], ' mark', ' writing', ' counts')
local devices = redis.call('HLEN', KEYS[1])
for i = 1, 3 do
  if state[i] then devices = devices - 1 end
end
return {state[1] or '', state[2] or '', state[3] or '', tostring(devices)}
`);
