-- Takes jobs off the waiting index whose messages have gone without us, and counts them in the same step.
--
-- ARGV  2 queue  3 time (ms): entries that are not younger have no message any more
-- Returns the number of entries.
local swept = redis.call('ZREMRANGEBYSCORE', waiting_key(ARGV[2]), '-inf', ARGV[3])
if swept > 0 then tally('elsewhere', ARGV[2], swept) end
return swept
