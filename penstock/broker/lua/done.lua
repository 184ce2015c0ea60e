-- Ends claims of first deliveries that were not from the outbox, all of one claimer on one queue: the most that there are.
--
-- ARGV  2 claimer  3 queue  4 number  5… so many tokens, then so many job ids
-- Returns how many claims were still the claimer's. What it had lost belongs to another attempt, which this leaves alone
-- but for its job's place in the waiting index: a job that was claimed again is not waiting.
local n = tonumber(ARGV[4])
local owned = redis.call('HDEL', inflight_key(ARGV[2], ARGV[3]), unpack(ARGV, 5, 4 + n))
redis.call('ZREM', waiting_key(ARGV[3]), unpack(ARGV, 5 + n, 4 + 2 * n))
return owned
