-- Tells where a job is and what stands in its way, all at one moment; changes nothing.
--
-- ARGV  2 job id  3 how many messages are looked at  4 how many bytes  5… queues, the likeliest first
-- Returns {now (ms), queue or '', time from which it may be claimed (ms) or '', jobs before it or '', why it is put aside,
--          '1': revoked, '1': somebody has cancelled it, why its queue is closed, '1': the outbox has its message here,
--          {parked message}, {claimer, queue, token, message, the claimer's first message}, {another's claimed message that
--          names the job: worker, message}, {dead entry's kind, reason, at, message},
--          {name of a spooled outcome}, {worker, renewed (ms) or '', draining (ms) or '', card, claimers that hold claims, claims, …},
--          '1': not everything was looked at}
--
-- A job is named in others' messages as well: in that of the step before it in a chain, or of a part of its chord.
local job, left, bytes = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_ms()
local cut = ''

local function names_job(raw)
  left, bytes = left - 1, bytes - #raw
  return string.find(raw, job, 1, true)
end
local function is_own(raw)
  return string.find(raw, '"id":"' .. job .. '"', 1, true) or string.find(raw, '"id": "' .. job .. '"', 1, true)
end
local function is_spent(wanted)
  if left >= wanted and bytes > 0 then return false end
  cut = '1'
  return true
end

-- The waiting index has the job until it has ended, or the ledger shows it.
local queue, score = '', false
local seen = {}
local function look_on(name)
  if seen[name] then return end
  seen[name] = true
  local found = redis.call('ZSCORE', waiting_key(name), job)
  if found and (not score or tonumber(found) < tonumber(score)) then queue, score = name, found end
end
for i = 5, #ARGV do look_on(ARGV[i]) end
if not score then
  for _, name in ipairs(redis.call('SMEMBERS', ours .. 'queues')) do look_on(name) end
end
if queue == '' and ARGV[5] then queue = ARGV[5] end

local before, parked = '', {}
if score then
  before = redis.call('ZCOUNT', waiting_key(queue), '-inf', '(' .. score)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', parked_key(queue), score, score, 'LIMIT', 0, 50)) do
    if not is_spent(1) and names_job(member) then parked[1] = string.match(member, '^[^\31]*\31[^\31]*\31(.*)$') end
  end
end

local claimed, named, workers = {}, {}, {}
local function look_at(worker, renewed)
  local key = worker_key(worker)
  local holding, claims, ours_here = {}, 0, {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local claimer, name = string.match(field, '^held:([^\31]*)\31(.*)$')
    if claimer then
      local inflight = inflight_key(claimer, name)
      local held = redis.call('HLEN', inflight)
      claims = claims + held
      if held > 0 then holding[claimer] = true end
      if held > 0 and not claimed[1] and (not score or name == queue) and not is_spent(held) then
        local fields = redis.call('HGETALL', inflight)
        for i = 1, #fields, 2 do
          if names_job(fields[i + 1]) then
            if is_own(fields[i + 1]) then
              claimed = {claimer, name, fields[i], fields[i + 1], ''}
              break
            end
            named = {worker, fields[i + 1]}
          end
        end
      end
    end
  end
  if claimed[1] and claimed[5] == '' and holding[claimed[1]] then
    -- A child runs what it has claimed in the order of its tokens.
    local first, number = claimed[4], tonumber(string.match(claimed[3], '^%d+'))
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local claimer, name = string.match(field, '^held:([^\31]*)\31(.*)$')
      if claimer == claimed[1] then
        for _, token in ipairs(redis.call('HKEYS', inflight_key(claimer, name))) do
          local n = tonumber(string.match(token, '^%d+'))
          if n < number then first, number = redis.call('HGET', inflight_key(claimer, name), token), n end
        end
      end
    end
    claimed[5] = first
  end
  local count = 0
  for _ in pairs(holding) do count = count + 1 end
  local kept = redis.call('HMGET', key, 'draining', 'card')
  local at = #workers
  workers[at + 1], workers[at + 2], workers[at + 3] = worker, renewed, kept[1] or ''
  workers[at + 4], workers[at + 5], workers[at + 6] = kept[2] or '', count, claims
end
local leases = redis.call('ZRANGE', ours .. 'leases', 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do look_at(leases[i], leases[i + 1]) end
for _, worker in ipairs(redis.call('HKEYS', ours .. 'dying')) do look_at(worker, '') end

local dead = {}
for _, entry in ipairs(redis.call('LRANGE', ours .. 'dead', 0, 999)) do
  if dead[1] or is_spent(1) then break end
  local kept = redis.call('HMGET', dead_key(entry), 'kind', 'reason', 'at', 'raw')
  if kept[4] and names_job(kept[4]) then dead = {kept[1], kept[2], kept[3], kept[4]} end
end

local spooled = {}
local waiting = redis.call('HLEN', ours .. 'spool')
if waiting > 0 and not is_spent(waiting) then
  local fields = redis.call('HGETALL', ours .. 'spool')
  for i = 1, #fields, 2 do
    if names_job(fields[i + 1]) then
      spooled[1] = fields[i]
      break
    end
  end
end

return {string.format('%.0f', now), queue, score or '', before,
  redis.call('HGET', ours .. 'blocked', job) or '',
  redis.call('ZSCORE', ours .. 'revoked', job) and '1' or '',
  redis.call('HEXISTS', ours .. 'cancelling', job) == 1 and '1' or '',
  queue ~= '' and redis.call('HGET', ours .. 'gates', queue) or '',
  redis.call('HEXISTS', ours .. 'outbox', job) == 1 and '1' or '',
  parked, claimed, named, dead, spooled, workers, cut}
