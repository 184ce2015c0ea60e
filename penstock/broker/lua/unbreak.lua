-- Moves jobs that a breaker has put aside back to the end of their queue, in order, a slice per call.
--
-- ARGV  2 key of their list  3 slice
-- Returns {messages moved, 1 if more are left}
local list = ARGV[2]
local kept = redis.call('HGET', ours .. 'broken', list)
if not kept then return {0, 0} end
local _, queue, step = string.match(kept, '^(.*)\31([^\31]*)\31(%d+)$')
local moved = #take_out(list, queue, step, tonumber(ARGV[3]), 'LPUSH')
redis.call('SET', ours .. 'unbroken', '1', 'PX', 3600000)
return {moved, redis.call('EXISTS', list)}
