-- Extends a worker's lease, unless it was taken away, and writes down what its keeper says of it.
--
-- ARGV  2 worker  3 '1': begin a lease, '0': renew the one that exists  4 its card, or '' for the one that is there
-- Returns 1, or 0: the worker was silent for too long, and its claims are or will be somebody else's.
if ARGV[3] == '0' and not redis.call('ZSCORE', ours .. 'leases', ARGV[2]) then return 0 end
redis.call('ZADD', ours .. 'leases', string.format('%.0f', now_ms()), ARGV[2])
if (ARGV[4] or '') ~= '' then redis.call('HSET', worker_key(ARGV[2]), 'card', ARGV[4]) end
return 1
