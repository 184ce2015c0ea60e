-- Ends a worker that is known to have ended: its claims go to the front of their queues, in order, a slice per call.
--
-- ARGV  2 worker  3 '1': count each claim as a crash  4 crash limit  5 slice
-- Returns {claims given back, 1 if more are left}
--
-- The lease goes first, so that nothing can be claimed under it between two slices.
redis.call('ZREM', ours .. 'leases', ARGV[2])
redis.call('HSETNX', ours .. 'dying', ARGV[2], ARGV[3])
local taken, more = take_back(ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5]), now_ms())
return {taken, more and 1 or 0}
