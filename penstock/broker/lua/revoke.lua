-- Notes revoked jobs and stamps, and jobs that were cancelled, under a new version, which every claim reports.
--
-- ARGV  2 'ids', 'stamps' (header ␟ value), or 'cancel'  3 of 'cancel': how long a body has to stop by itself (ms), '':
--       for ever; else ''  4… ids or stamps
-- Returns the version.
local time = redis.call('TIME')
local version = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- The clock may be set back; a version that worker caches have passed would never be fetched.
local last = tonumber(redis.call('GET', ours .. 'revoked:version') or 0)
if version <= last then version = last + 1 end
local text = string.format('%.0f', version)
local key = ARGV[2] == 'stamps' and ours .. 'revoked:stamps' or ours .. 'revoked'
local now = now_ms()
for i = 4, #ARGV do
  redis.call('ZADD', key, text, ARGV[i])
  if ARGV[2] == 'cancel' then
    local stop = ARGV[3] ~= '' and now + tonumber(ARGV[3])
    local at, known = string.match(redis.call('HGET', ours .. 'cancelling', ARGV[i]) or '', '^(%d+):(%d*)$')
    -- Whoever asks again may have less patience than before, and not more: asked often enough, it would never end.
    if known and known ~= '' and not (stop and stop < tonumber(known)) then stop = tonumber(known) end
    redis.call('HSET', ours .. 'cancelling', ARGV[i],
      string.format('%s:%s', at or string.format('%.0f', now), stop and string.format('%.0f', stop) or ''))
  end
end
redis.call('SET', ours .. 'revoked:version', text)
return text
