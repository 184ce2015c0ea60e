-- What happens to messages whose delivery ended without an answer. Put in front of settle, retire and reap.

-- deliveries, crashes of a message so far.
local function delivery_counts(raw)
  local kept = redis.call('HGET', ours .. 'deliveries', redis.sha1hex(raw))
  if not kept then return 0, 0 end
  local deliveries, crashes = string.match(kept, '^(%d+):(%d+):')
  return tonumber(deliveries), tonumber(crashes)
end

local function count_delivery(raw, crashed, now)
  local deliveries, crashes = delivery_counts(raw)
  deliveries = deliveries + 1
  if crashed then crashes = crashes + 1 end
  redis.call('HSET', ours .. 'deliveries', redis.sha1hex(raw),
    string.format('%d:%d:%.0f', deliveries, crashes, now))
  return deliveries, crashes
end

local function forget_delivery(raw)
  redis.call('HDEL', ours .. 'deliveries', redis.sha1hex(raw))
end

-- Keeps a message for the ledger. The entry's id is unique, because claimer and token are.
local function bury(kind, claimer, queue, token, raw, reason, job, deliveries, now)
  local entry = claimer .. ':' .. token
  redis.call('HSET', dead_key(entry), 'raw', raw, 'kind', kind, 'queue', queue, 'step', step_of(token),
    'reason', reason, 'at', string.format('%.0f', now), 'deliveries', deliveries, 'job', job)
  redis.call('RPUSH', ours .. 'dead', entry)
  forget_delivery(raw)
end

-- Back to the front of its queue after its process died; buried when that has happened too often. Returns buried?
local function put_back_crashed(claimer, queue, token, raw, limit, now)
  local deliveries, crashes = count_delivery(raw, true, now)
  if crashes >= limit then
    local times = crashes == 1 and 'once' or crashes .. ' times'
    bury('buried', claimer, queue, token, raw, 'its process died ' .. times, '', deliveries, now)
    return true
  end
  redis.call('RPUSH', ready_key(queue, step_of(token)), raw)
  wake(queue, 1)
  return false
end

-- Gives up to `slice` claims of an ended worker back, newest first, so that RPUSH leaves the oldest in front.
-- Returns the number of claims taken, and whether more are left. Whether they count as crashes was noted when the
-- worker was found to be dying, because slices may be taken by others than by who noted it.
local function take_back(worker, limit, slice, now)
  local counted = redis.call('HGET', ours .. 'dying', worker) == '1'
  local key = worker_key(worker)
  local taken = 0
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local claimer, queue = string.match(field, '^held:([^\31]*)\31(.*)$')
    if claimer then
      local inflight = inflight_key(claimer, queue)
      local tokens = redis.call('HKEYS', inflight)
      table.sort(tokens, function(a, b)
        return tonumber(string.match(a, '^%d+')) > tonumber(string.match(b, '^%d+'))
      end)
      for _, token in ipairs(tokens) do
        if taken >= slice then return taken, true end
        local raw = redis.call('HGET', inflight, token)
        if counted then
          put_back_crashed(claimer, queue, token, raw, limit, now)
        else
          redis.call('RPUSH', ready_key(queue, step_of(token)), raw)
          wake(queue, 1)
        end
        redis.call('HDEL', inflight, token)
        taken = taken + 1
      end
      redis.call('HDEL', key, field)
    end
  end
  redis.call('DEL', key)
  redis.call('HDEL', ours .. 'dying', worker)
  return taken, false
end
