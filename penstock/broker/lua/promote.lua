-- Moves parked messages that are due to the end of their ready lists, a slice per call.
--
-- ARGV  2 slice  3 '+inf': all of them, due or not; '': what is due now  4… queues
-- Returns {messages moved, when the next one is due (ms; 0: none is parked), now (ms)}
local now = now_ms()
local left, next_due = tonumber(ARGV[2]), 0
local horizon = ARGV[3] == '' and string.format('%.0f', now) or ARGV[3]
local moved = 0
for i = 4, #ARGV do
  local queue = ARGV[i]
  local parked = parked_key(queue)
  local due = left > 0 and redis.call('ZRANGEBYSCORE', parked, '-inf', horizon, 'LIMIT', 0, left) or {}
  for _, member in ipairs(due) do
    local first = string.find(member, FIELD, 1, true)
    local second = string.find(member, FIELD, first + 1, true)
    redis.call('LPUSH', ready_key(queue, string.sub(member, 1, first - 1)), string.sub(member, second + 1))
    redis.call('ZREM', parked, member)
  end
  if #due > 0 then wake(queue, #due) end
  moved, left = moved + #due, left - #due
  local head = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
  if head[2] and (next_due == 0 or tonumber(head[2]) < next_due) then next_due = tonumber(head[2]) end
end
return {moved, string.format('%.0f', next_due), string.format('%.0f', now)}
