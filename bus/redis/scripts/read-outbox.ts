import { script } from '../script.ts';

/**
 * Reads the entries above a position, and says whether the outbox is still the one that the position belongs
 * to. It is not if the epoch differs, or if the stream ends below the offset (deleted, or set back by a
 * failover to a replica).
 *
 * KEYS 1 epoch, 2 outbox
 * ARGV 1 epoch of the position, '' for none, 2 its offset, 3 most entries to read
 * Result: {epoch or '', 1 when lost, else 0, entries {{id, {field, value}}, ...}}. Read from the start when
 * lost
 */
export const readOutbox = script(`
local epoch = redis.call('GET', KEYS[1])
if not epoch then return {'', 1, {}} end
local after = ARGV[2]
local lost = 0
if ARGV[1] ~= '' and ARGV[1] ~= epoch then lost = 1 end
if lost == 0 and after ~= '0-0' then
  local last = '0-0'
  if redis.call('EXISTS', KEYS[2]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[2])
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = info[i + 1] end
    end
  end
  local lastMs, lastSeq = string.match(last, '(%d+)-(%d+)')
  local afterMs, afterSeq = string.match(after, '(%d+)-(%d+)')
  lastMs, afterMs = tonumber(lastMs), tonumber(afterMs)
  if lastMs < afterMs or (lastMs == afterMs and tonumber(lastSeq) < tonumber(afterSeq)) then lost = 1 end
end
if lost == 1 then after = '0-0' end
return {epoch, lost, redis.call('XRANGE', KEYS[2], '(' .. after, '+', 'COUNT', ARGV[3])}
`);
