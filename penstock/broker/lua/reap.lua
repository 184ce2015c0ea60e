-- Takes back the claims of workers that have been silent for a lease, a slice per call.
--
-- ARGV  2 lease (ms)  3 gap (ms): ticks further apart than this count as broken  4 crash limit  5 slice
-- Returns {claims given back, 1 if more are left, worker whose lease ended, …}
--
-- A server that was stopped or restarted makes everybody look silent. So nobody is reaped before the ticks of this
-- script, which stop with the server, have been unbroken for a full lease: in that time every live worker renews.
local lease, gap = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms()
local ticks = redis.call('HMGET', ours .. 'reaper', 'since', 'last')
local since, last = tonumber(ticks[1] or now), tonumber(ticks[2] or -1)
if last < 0 or now - last > gap or now < last then since = now end
redis.call('HSET', ours .. 'reaper', 'since', string.format('%.0f', since), 'last', string.format('%.0f', now))

local reply = {0, 0}
if now - since < lease then return reply end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', ours .. 'leases', '-inf', string.format('%.0f', now - lease))) do
  redis.call('ZREM', ours .. 'leases', worker)
  redis.call('HSETNX', ours .. 'dying', worker, '1')
  reply[#reply + 1] = worker
end
-- The server's clock was set back: these leases would outlive their workers by that much.
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', ours .. 'leases', string.format('%.0f', now + gap), '+inf')) do
  redis.call('ZADD', ours .. 'leases', string.format('%.0f', now), worker)
end
local left = tonumber(ARGV[5])
for _, worker in ipairs(redis.call('HKEYS', ours .. 'dying')) do
  local taken, more = take_back(worker, tonumber(ARGV[4]), left, now)
  reply[1] = reply[1] + taken
  left = left - taken
  if more then
    reply[2] = 1
    break
  end
end
return reply
