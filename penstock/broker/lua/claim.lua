-- Pops messages and records them in the claimer's in-flight hashes in the same step: no moment loses one.
--
-- ARGV  2 worker  3 claimer  4 base  5 count  6 byte bound  7… triples of queue, step, task ('': the ready list;
--       otherwise the list of that unknown task), in the order in which they are to be served
-- Returns {status, now (ms), version of the revocations, token, queue, raw, deliveries, crashes, …}
--         status 'ok', or 'gone': the worker has no lease, because it was silent for too long, or the claimer's process
--         has ended and others have its claims by now.
--
-- Tokens are base+1, base+2, … The same base again is a repeat whose reply was lost: it gets the same messages.
local worker, claimer, base = ARGV[2], ARGV[3], tonumber(ARGV[4])
local count, bound = tonumber(ARGV[5]), tonumber(ARGV[6])
local version = redis.call('GET', ours .. 'revoked:version') or '0'
-- With its fraction: two claims in one millisecond have an order as well.
local time = redis.call('TIME')
local reply = {'ok', string.format('%.3f', time[1] * 1000 + time[2] / 1000), version}
if not redis.call('ZSCORE', ours .. 'leases', worker) then
  reply[1] = 'gone'
  return reply
end

local redelivered = redis.call('EXISTS', ours .. 'deliveries') == 1
local function answer(token, queue, raw)
  local deliveries, crashes = 0, 0
  if redelivered then
    local kept = redis.call('HGET', ours .. 'deliveries', redis.sha1hex(raw))
    if kept then deliveries, crashes = string.match(kept, '^(%d+):(%d+):') end
  end
  local at = #reply
  reply[at + 1], reply[at + 2], reply[at + 3] = token, queue, raw
  reply[at + 4], reply[at + 5] = tonumber(deliveries), tonumber(crashes)
end

local key = worker_key(worker)
if redis.call('HEXISTS', key, 'ended:' .. claimer) == 1 then
  reply[1] = 'gone'
  return reply
end
local last = tonumber(redis.call('HGET', key, 'base:' .. claimer) or -1)
if last >= base then
  -- By what the claimer holds and not by the queues that are asked for: these may be others by now.
  local held, begins = {}, 'held:' .. claimer .. FIELD
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, #begins) == begins then
      local queue = string.sub(field, #begins + 1)
      local fields = redis.call('HGETALL', inflight_key(claimer, queue))
      for j = 1, #fields, 2 do
        local n = tonumber(string.match(fields[j], '^%d+'))
        if n > base then held[#held + 1] = {n, fields[j], queue, fields[j + 1]} end
      end
    end
  end
  table.sort(held, function(a, b) return a[1] < b[1] end)
  for _, entry in ipairs(held) do answer(entry[2], entry[3], entry[4]) end
  return reply
end

local gates = redis.call('EXISTS', ours .. 'gates') == 1
local open, empty, order = {}, {}, {}
local n, bytes = base, 0
for i = 7, #ARGV, 3 do
  local queue, step, task = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if open[queue] == nil then
    open[queue] = not (gates and redis.call('HEXISTS', ours .. 'gates', queue) == 1)
    order[#order + 1] = queue
  end
  if task == '' and open[queue] and empty[queue] == nil then empty[queue] = true end
  local list = task == '' and ready_key(queue, step) or unknown_key(queue, step, task)
  local suffix, noted = ':' .. step, false
  while open[queue] and n - base < count and bytes < bound do
    -- A few at a time: what lies beyond the byte bound has to go back.
    local wanted = math.min(count - (n - base), 50)
    local popped = redis.call('RPOP', list, wanted) or {}
    local fields = {}
    for _, raw in ipairs(popped) do
      if bytes >= bound then break end
      n, bytes = n + 1, bytes + #raw
      local token = string.format('%.0f', n) .. suffix
      fields[#fields + 1], fields[#fields + 2] = token, raw
      answer(token, queue, raw)
    end
    for j = #popped, #fields / 2 + 1, -1 do redis.call('RPUSH', list, popped[j]) end
    -- At once and not at the end: an error at a later list, as of a wrong type, must not cost what was popped here.
    if #fields > 0 then
      redis.call('HSET', inflight_key(claimer, queue), unpack(fields))
      if not noted then
        noted = true
        redis.call('HSET', key, 'held:' .. claimer .. FIELD .. queue, '1', 'base:' .. claimer, string.format('%.0f', base))
      end
    end
    if #popped < wanted then break end
  end
  if task ~= '' then
    if redis.call('EXISTS', list) == 0 then redis.call('HDEL', ours .. 'unknown', list) end
  elseif n - base >= count or bytes >= bound then
    empty[queue] = false
  end
end

for _, queue in ipairs(order) do
  -- Every message that a token was pushed for is gone, so the tokens would only cause empty claims.
  if empty[queue] then redis.call('DEL', wake_key(queue)) end
end
return reply
