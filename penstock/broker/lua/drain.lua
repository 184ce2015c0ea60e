-- Notes that a worker ends: it claims no more and answers no remote control, and its lease goes on until its last job.
--
-- ARGV  2 worker
-- Returns 1, or 0: it has no lease. Its hash may be gone with that, and nobody would delete it again.
if not redis.call('ZSCORE', ours .. 'leases', ARGV[2]) then return 0 end
redis.call('HSETNX', worker_key(ARGV[2]), 'draining', string.format('%.0f', now_ms()))
return 1
