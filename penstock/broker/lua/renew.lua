-- Extends a worker's lease, unless it was taken away.
--
-- ARGV  2 worker  3 '1': begin a lease, '0': renew the one that exists
-- Returns 1, or 0: the worker was silent for too long, and its claims are or will be somebody else's.
if ARGV[3] == '0' and not redis.call('ZSCORE', ours .. 'leases', ARGV[2]) then return 0 end
redis.call('ZADD', ours .. 'leases', string.format('%.0f', now_ms()), ARGV[2])
return 1
