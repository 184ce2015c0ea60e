-- Lets jobs of a task start as probes, when its breaker has been open for its time, or its probes have not answered.
--
-- ARGV  2 task
-- Returns '1' if it has become half-open, '0' otherwise
--
-- A probe that never answers, as its host is gone, is made up for by another after one more pause. Those that are still to
-- start are not: their messages are where the last call has put them.
local task, now = ARGV[2], now_ms()
local key = breaker_key(task)
local kept = redis.call('HMGET', key, 'state', 'next', 'pause', 'probes', 'left', 'succeeded')
local state, next = kept[1], tonumber(kept[2] or 0)
if not state or next == 0 or now < next then return '0' end
local left, succeeded = tonumber(kept[5] or 0), tonumber(kept[6] or 0)
local wanted = tonumber(kept[4]) - succeeded - left
redis.call('HSET', key, 'state', 'half-open', 'next', string.format('%.0f', now + math.max(tonumber(kept[3]), 1000)),
  'left', left + math.max(wanted, 0), 'succeeded', succeeded)
if state == 'open' then redis.call('HSET', key, 'since', string.format('%.0f', now)) end
bring_forward(task, wanted)
return state == 'open' and '1' or '0'
