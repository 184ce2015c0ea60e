-- Puts messages of the outbox on their queues, each only if Redis does not have it already.
--
-- ARGV  2… septuples of outbox key, queue, step, due (ms; 0: now), job id, '1' if the message is a new job, raw
-- Returns for each 1, or 0: its message is in Redis, ready, in flight or put aside; or why its queue cannot take it,
-- because somebody else has a key of that name. The others must not wait for that.
--
-- A field of the hash says that Redis has the message; whoever settles the message as done deletes it. Message, field
-- and count are written in one step, so that a server that has lost one of them has lost all of them.
local now = now_ms()
-- Only our keepers promote: without a live worker of ours the message takes the way that stock workers know.
local promoted = redis.call('EXISTS', ours .. 'leases') == 1

local pushed, accepted, reply = {}, {}, {}
for i = 2, #ARGV, 7 do
  local key, queue, step, due, id, is_new, raw = unpack(ARGV, i, i + 6)
  local at = #reply + 1
  reply[at] = 0
  if redis.call('HEXISTS', ours .. 'outbox', key) == 0 then
    due = tonumber(due)
    local answer
    local score = string.format('%.0f', due > now and due or now)
    if due > now and promoted then
      -- Equal times are served in text order, so numbers have a fixed width.
      local unique = string.format('%016.0f.%08d', now, at)
      answer = redis.pcall('ZADD', parked_key(queue), score, step .. FIELD .. unique .. FIELD .. raw)
      pushed[queue] = pushed[queue] or 0
    else
      answer = redis.pcall('LPUSH', ready_key(queue, step), raw)
      pushed[queue] = (pushed[queue] or 0) + 1
    end
    if type(answer) == 'table' and not string.find(answer.err, '^WRONGTYPE') then return answer end
    -- After the message: a push that fails must not leave a field behind.
    if type(answer) == 'table' then
      reply[at] = answer.err
    else
      redis.call('HSET', ours .. 'outbox', key, '1')
      redis.call('ZADD', waiting_key(queue), score, id)
      if is_new == '1' then accepted[queue] = (accepted[queue] or 0) + 1 end
      reply[at] = 1
    end
  end
end
for queue, n in pairs(pushed) do
  redis.call('SADD', ours .. 'queues', queue)
  wake(queue, n)
end
for queue, n in pairs(accepted) do tally('accepted', queue, n) end
return reply
