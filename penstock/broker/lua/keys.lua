-- The twin of keys.py, put in front of every script. ARGV[1] is the prefix, in every script.
local prefix = ARGV[1]
local ours = prefix .. 'penstock:'
local FIELD = '\31'

local function ready_key(queue, step)
  if tonumber(step) == 0 then return prefix .. queue end
  return prefix .. queue .. '\6\22' .. step
end
local function waiting_key(queue) return ours .. 'waiting:' .. queue end
local function parked_key(queue) return ours .. 'parked:' .. queue end
local function wake_key(queue) return ours .. 'wake:' .. queue end
local function unknown_key(queue, step, task) return ours .. 'unknown:' .. step .. ':' .. queue .. FIELD .. task end
local function breaker_key(task) return ours .. 'breaker:' .. task end
local function attempts_key(task) return ours .. 'attempts:' .. task end
local function broken_key(queue, step, task) return ours .. 'broken:' .. step .. ':' .. queue .. FIELD .. task end
local function inflight_key(claimer, queue) return ours .. 'inflight:' .. claimer .. ':' .. queue end
local function worker_key(worker) return ours .. 'worker:' .. worker end
local function dead_key(entry) return ours .. 'dead:' .. entry end
local function producer_key(producer) return ours .. 'producer:' .. producer end
local function ended_channel(job) return ours .. 'ended:' .. job end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Counts for the balance sheet, which also tells since when: a server that has forgotten the one forgot the other.
local function tally(what, queue, n)
  local first = redis.call('HINCRBY', ours .. 'tally', what .. ':' .. queue, n) == n
  if first then redis.call('HSETNX', ours .. 'tally', 'since', string.format('%.0f', now_ms())) end
end

-- Wakes up to n idle claimers of a queue. Tokens beyond the cap would only cause empty claims later.
local function wake(queue, n)
  local key = wake_key(queue)
  local room = 128 - redis.call('LLEN', key)
  if n < room then room = n end
  for _ = 1, room do redis.call('LPUSH', key, '1') end
end

-- The step is part of the token, because the claim popped the message from that list.
local function step_of(token)
  return string.match(token, ':(%d+)$')
end
