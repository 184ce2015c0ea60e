-- Wakes idle claimers of a queue to which somebody pushed without a token, as every stock producer does.
--
-- ARGV  2 queue  3… steps
-- Returns the number of messages that wait.
local waiting = 0
for i = 3, #ARGV do waiting = waiting + redis.call('LLEN', ready_key(ARGV[2], ARGV[i])) end
-- A queue that is closed has nothing to claim; whoever opens it wakes.
if redis.call('HEXISTS', ours .. 'gates', ARGV[2]) == 1 then return waiting end
local tokens = redis.call('LLEN', wake_key(ARGV[2]))
if tokens < waiting then wake(ARGV[2], waiting - tokens) end
return waiting
