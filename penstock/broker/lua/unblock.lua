-- Moves messages of an unknown task back to the end of their queue, in order, a slice per call.
--
-- ARGV  2 key of the unknown-task list  3 slice
-- Returns {messages moved, 1 if more are left}
local list = ARGV[2]
local kept = redis.call('HGET', ours .. 'unknown', list)
if not kept then return {0, 0} end
-- Anyone may have named the task, with the separator in it; the last two parts are ours.
local _, queue, step = string.match(kept, '^(.*)\31([^\31]*)\31(%d+)$')
local moved = redis.call('RPOP', list, tonumber(ARGV[3])) or {}
for _, raw in ipairs(moved) do redis.call('LPUSH', ready_key(queue, step), raw) end
if #moved > 0 then wake(queue, #moved) end
local more = redis.call('EXISTS', list)
if more == 0 then redis.call('HDEL', ours .. 'unknown', list) end
return {#moved, more}
