-- Lets jobs of a task start as probes, when its breaker has been open for its time, or its probes have not answered.
--
-- ARGV  2 task
-- Returns '1' if it has become half-open, '0' otherwise
--
-- A probe that never answers, as its host is gone, is made up for by another after one more pause, and so is a job that was
-- brought forward and taken away by somebody else. Those that are still where the last call has put them are not.
local LOOKED_AT = 1000
local task, now = ARGV[2], now_ms()
local key = breaker_key(task)

-- How many that were brought forward still wait in front of their queues.
local function count_waiting()
  local waiting, fields = 0, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local queue, step = string.match(fields[i], '^forward:([^\31]*)\31(%d+)\31%x+$')
    if queue then
      if redis.call('LPOS', ready_key(queue, step), fields[i + 1], 'RANK', -1, 'MAXLEN', LOOKED_AT) then
        waiting = waiting + 1
      else
        redis.call('HDEL', key, fields[i])
      end
    end
  end
  return waiting
end

local kept = redis.call('HMGET', key, 'state', 'next', 'pause', 'probes', 'left', 'succeeded')
local state, next = kept[1], tonumber(kept[2] or 0)
if not state or next == 0 or now < next then return '0' end
local left, succeeded = tonumber(kept[5] or 0), tonumber(kept[6] or 0)
local wanted = tonumber(kept[4]) - succeeded - left
left = left + math.max(wanted, 0)
redis.call('HSET', key, 'state', 'half-open', 'next', string.format('%.0f', now + math.max(tonumber(kept[3]), 1000)),
  'left', left, 'succeeded', succeeded)
if state == 'open' then redis.call('HSET', key, 'since', string.format('%.0f', now)) end
bring_forward(task, left - count_waiting())
return state == 'open' and '1' or '0'
