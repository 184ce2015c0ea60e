-- Ends claims. Only the claimer that still owns an entry can settle it: this is the fence.
--
-- ARGV  2… sextuples of claimer, queue, token, verb, and two arguments ('' where the verb has none):
--   ack         outbox key, job done; with it the field that says that Redis has the message of this outbox row, and
--                               the job's place in the waiting index, if it is named
--   ack_counted outbox key, job the same, and its delivery count is forgotten
--   return                      to the front, not counted: it was never started
--   interrupt                   to the front, counted as a delivery: it was started, and ended with its worker
--   requeue                     last in line, counted as a delivery
--   crash       limit           to the front, counted as a delivery that killed its process; buried at the limit
--   park        due, job        aside until then (ms); with the job named, the waiting index has that time from now on
--   block       task, job       aside until a worker that knows the task claims it
--   admit       task, job       nothing if the task's breaker lets the job start; otherwise aside until it does
--   bury        reason, job     to the dead entries as a failed job
--   quarantine  reason          to the dead entries as a message without a readable id
--   spool       words, name     done, and what the ledger is to hear of it waits under this name
-- Returns for each: 1 settled, 2 settled by burying, 3 admitted: its claim goes on, 0 refused: the entry is not the
--         claimer's any more.
local now = now_ms()
local SETTLED, BURIED, ADMITTED = 1, 2, 3

local function forget_outbox(key)
  if key ~= '' then redis.call('HDEL', ours .. 'outbox', key) end
end

local function forget_waiting(queue, job)
  if job ~= '' then redis.call('ZREM', waiting_key(queue), job) end
end

local verbs = {}
verbs['return'] = function(claimer, queue, token, raw)
  redis.call('RPUSH', ready_key(queue, step_of(token)), raw)
  wake(queue, 1)
end
function verbs.interrupt(claimer, queue, token, raw)
  count_delivery(raw, false, now)
  verbs['return'](claimer, queue, token, raw)
end
function verbs.ack_counted(_, queue, _, raw, key, job)
  forget_delivery(raw)
  forget_outbox(key)
  forget_waiting(queue, job)
end
function verbs.requeue(_, queue, token, raw)
  count_delivery(raw, false, now)
  redis.call('LPUSH', ready_key(queue, step_of(token)), raw)
  wake(queue, 1)
end
function verbs.crash(claimer, queue, token, raw, limit)
  return put_back_crashed(claimer, queue, token, raw, tonumber(limit), now) and BURIED
end
function verbs.park(claimer, queue, token, raw, due, job)
  -- Equal times are served in text order, so the token's number has a fixed width.
  local unique = string.format('%s:%016.0f', claimer, tonumber(string.match(token, '^%d+')))
  redis.call('ZADD', parked_key(queue), due, step_of(token) .. FIELD .. unique .. FIELD .. raw)
  redis.call('SADD', ours .. 'queues', queue)
  if job ~= '' then redis.call('ZADD', waiting_key(queue), 'XX', due, job) end
end
function verbs.block(_, queue, token, raw, task, job)
  local step = step_of(token)
  local list = unknown_key(queue, step, task)
  redis.call('LPUSH', list, raw)
  redis.call('HSET', ours .. 'unknown', list, task .. FIELD .. queue .. FIELD .. step)
  if job ~= '' then redis.call('HSET', ours .. 'blocked', job, 'unknown task ' .. task) end
end
-- A probe is known by its claim, as records name it, without the host: who asks again because an answer was lost gets the
-- same one. The id's length stands in front, so that the id can be any text, and the message behind it any bytes.
function verbs.admit(claimer, queue, token, raw, task, job)
  local breaker = breaker_key(task)
  local state = redis.call('HGET', breaker, 'state')
  if not state then return ADMITTED end
  if state == 'half-open' then
    local probe = 'probe:' .. string.match(claimer, '[^/]*$') .. ':' .. token
    if redis.call('HEXISTS', breaker, probe) == 1 then return ADMITTED end
    if tonumber(redis.call('HGET', breaker, 'left')) > 0 then
      redis.call('HINCRBY', breaker, 'left', -1)
      redis.call('HSET', breaker, probe, '1')
      return ADMITTED
    end
  end
  local step = step_of(token)
  local list = broken_key(queue, step, task)
  redis.call('LPUSH', list, #job .. ':' .. job .. raw)
  redis.call('HSET', ours .. 'broken', list, task .. FIELD .. queue .. FIELD .. step)
  if job ~= '' then redis.call('HSET', ours .. 'blocked', job, 'breaker of ' .. task) end
end
function verbs.bury(claimer, queue, token, raw, reason, job)
  bury('buried', claimer, queue, token, raw, reason, job, delivery_counts(raw) + 1, now)
  return BURIED
end
function verbs.quarantine(claimer, queue, token, raw, reason)
  bury('quarantined', claimer, queue, token, raw, reason, '', delivery_counts(raw) + 1, now)
  return BURIED
end

function verbs.spool(_, _, _, raw, words, name)
  redis.call('HSET', ours .. 'spool', name, words)
  forget_delivery(raw)
end

local reply = {}
for i = 2, #ARGV, 6 do
  local claimer, queue, token, verb = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local inflight = inflight_key(claimer, queue)
  if verb == 'ack' then
    local owned = redis.call('HDEL', inflight, token)
    -- Whoever has lost the claim does not end the message: another attempt has it, and its field.
    if owned == 1 then
      forget_outbox(ARGV[i + 4])
      forget_waiting(queue, ARGV[i + 5])
    end
    reply[#reply + 1] = owned
  else
    local raw = redis.call('HGET', inflight, token)
    if raw then
      local answer = verbs[verb](claimer, queue, token, raw, ARGV[i + 4], ARGV[i + 5]) or SETTLED
      if answer ~= ADMITTED then redis.call('HDEL', inflight, token) end
      reply[#reply + 1] = answer
    else
      reply[#reply + 1] = 0
    end
  end
end
return reply
