-- Notes revoked jobs and stamps under a new version, which every claim reports.
--
-- ARGV  2 '1': the rest are stamps (header ␟ value), '0': job ids  3… ids or stamps
-- Returns the version.
local time = redis.call('TIME')
local version = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- The clock may be set back; a version that worker caches have passed would never be fetched.
local last = tonumber(redis.call('GET', ours .. 'revoked:version') or 0)
if version <= last then version = last + 1 end
local text = string.format('%.0f', version)
local key = ARGV[2] == '1' and ours .. 'revoked:stamps' or ours .. 'revoked'
for i = 3, #ARGV do redis.call('ZADD', key, text, ARGV[i]) end
redis.call('SET', ours .. 'revoked:version', text)
return text
