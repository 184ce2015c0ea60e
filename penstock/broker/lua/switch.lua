-- Opens a task's breaker for good, or closes it, as a person says.
--
-- ARGV  2 task  3 'open' or 'closed'  4 who  5 their note
-- Returns the state that it was in
local task, now = ARGV[2], now_ms()
local key = breaker_key(task)
local before = redis.call('HGET', key, 'state') or 'closed'
close_breaker(task)
if ARGV[3] == 'open' then
  open_breaker(task, now, 0, 1, 0, 1, '')
  redis.call('HSET', key, 'next', '0', 'by', ARGV[4], 'note', ARGV[5])
end
return before
