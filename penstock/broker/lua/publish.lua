-- Puts messages on one queue and step, at once or when they are due, once per call however often it is repeated.
--
-- ARGV  2 producer  3 sequence number  4 queue  5 step  6 due (ms; 0: now)  7 '1': new jobs, '0': jobs that go on
--       8… pairs of job id ('': not indexed), raw
-- Returns 1, or 0 when this call had been carried out before: its reply was lost, and its messages are there.
--
-- A producer has one call at a time, so that its last sequence number remembers all of its calls.
local producer, sequence = producer_key(ARGV[2]), tonumber(ARGV[3])
local queue, step, due = ARGV[4], ARGV[5], tonumber(ARGV[6])
if tonumber(redis.call('GET', producer) or -1) >= sequence then return 0 end

local now = now_ms()
-- Only our keepers promote: without a live worker of ours the message takes the way that stock workers know.
local park = due > now and redis.call('EXISTS', ours .. 'leases') == 1
local score = string.format('%.0f', due > now and due or now)
local count = (#ARGV - 7) / 2
local waiting, parked, ready = waiting_key(queue), parked_key(queue), ready_key(queue, step)
local indexed = 0

-- unpack takes some thousand values at most.
for first = 1, count, 1000 do
  local last = math.min(first + 999, count)
  local entries, index = {}, {}
  for i = first, last do
    local id, raw = ARGV[6 + 2 * i], ARGV[7 + 2 * i]
    if park then
      entries[#entries + 1] = score
      -- Equal times are served in text order, so numbers have a fixed width.
      entries[#entries + 1] = string.format('%s%s%s.%016.0f.%08d%s', step, FIELD, ARGV[2], sequence, i, FIELD) .. raw
    else
      entries[#entries + 1] = raw
    end
    if id ~= '' then
      index[#index + 1] = score
      index[#index + 1] = id
    end
  end
  if park then redis.call('ZADD', parked, unpack(entries)) else redis.call('LPUSH', ready, unpack(entries)) end
  if #index > 0 then indexed = indexed + redis.call('ZADD', waiting, unpack(index)) end
end
redis.call('SADD', ours .. 'queues', queue)
if not park then wake(queue, count) end
-- Those that the index has not had: an id that waits already is one job, however often it is sent.
if ARGV[7] == '1' and indexed > 0 then tally('accepted', queue, indexed) end
-- Last, so that a call that failed before this is not taken for one that was carried out.
redis.call('SET', producer, ARGV[3], 'PX', 60000)
return 1
