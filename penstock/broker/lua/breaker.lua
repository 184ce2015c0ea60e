-- How the breaker of a task changes. Put in front of trip, probe and switch.
--
-- closed     no hash: jobs start
-- open       jobs are put aside, until `next` (ms; 0: until a person closes it)
-- half-open  `left` jobs more may start as probes; field `probe:` and claim of each that has, until it ends; field
--            `forward:`, place and digest of each message that was brought forward for that

local function close_breaker(task)
  redis.call('DEL', breaker_key(task), attempts_key(task))
  redis.call('SREM', ours .. 'breakers', task)
end

-- Opened once more, it stays open for longer by the factor `backoff`, up to `cap`. Probes of before count no more.
local function open_breaker(task, now, pause, backoff, cap, probes, fault)
  local key = breaker_key(task)
  local times = tonumber(redis.call('HGET', key, 'times') or 0)
  local lasting = math.min(pause * backoff ^ times, math.max(cap, pause))
  redis.call('DEL', key, attempts_key(task))
  redis.call('HSET', key, 'state', 'open', 'since', string.format('%.0f', now),
    'next', string.format('%.0f', now + lasting), 'times', times + 1, 'pause', string.format('%.0f', pause),
    'probes', probes, 'fault', fault)
  redis.call('SADD', ours .. 'breakers', task)
end

