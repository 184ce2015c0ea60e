-- Makes or keeps one worker the holder of a role. A role only saves work: two holders at once would do no harm.
--
-- ARGV  2 key of the role  3 worker  4 term (ms)
-- Returns 1 if the worker holds it now.
local holder = redis.call('GET', ARGV[2])
if holder and holder ~= ARGV[3] then return 0 end
redis.call('SET', ARGV[2], ARGV[3], 'PX', ARGV[4])
return 1
