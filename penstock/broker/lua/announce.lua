-- Tells those who wait for jobs that these have ended. Nothing is kept: whoever comes later reads the ledger.
--
-- ARGV  2… pairs of job id, state
-- Returns the number of those who were told.
--
-- Call it after the commit, or a waiter reads a row that is not there yet. Told twice does no harm.
local told = 0
for i = 2, #ARGV, 2 do told = told + redis.call('PUBLISH', ended_channel(ARGV[i]), ARGV[i + 1]) end
return told
