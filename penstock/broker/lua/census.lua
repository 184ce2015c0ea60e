-- Counts what there is of every queue, all at one moment; changes nothing.
--
-- ARGV  2 how many steps follow  3… steps, then queues beside those that Redis remembers
-- Returns {fields of the tally, {queue, ready, parked, …}, {queue, in flight, …}, {queue, blocked, …},
--          {queue, kind of a dead entry, …}, dead entries that are not looked at, since when this is another server (ms)}
--         A queue may come several times in the middle three.
local LOOKED_AT = 1000
local steps, names = {}, {}
for i = 1, tonumber(ARGV[2]) do steps[i] = ARGV[2 + i] end
for i = 3 + #steps, #ARGV do names[ARGV[i]] = true end
for _, queue in ipairs(redis.call('SMEMBERS', ours .. 'queues')) do names[queue] = true end

local waiting = {}
for queue in pairs(names) do
  local ready = 0
  for _, step in ipairs(steps) do ready = ready + redis.call('LLEN', ready_key(queue, step)) end
  local at = #waiting
  waiting[at + 1], waiting[at + 2], waiting[at + 3] = queue, ready, redis.call('ZCARD', parked_key(queue))
end

local held, seen = {}, {}
local function count_held(worker)
  if seen[worker] then return end
  seen[worker] = true
  for _, field in ipairs(redis.call('HKEYS', worker_key(worker))) do
    local claimer, queue = string.match(field, '^held:([^\31]*)\31(.*)$')
    if claimer then
      held[#held + 1] = queue
      held[#held + 1] = redis.call('HLEN', inflight_key(claimer, queue))
    end
  end
end
for _, worker in ipairs(redis.call('ZRANGE', ours .. 'leases', 0, -1)) do count_held(worker) end
for _, worker in ipairs(redis.call('HKEYS', ours .. 'dying')) do count_held(worker) end

-- What waits for SQL in place of its message.
for _, name in ipairs(redis.call('HKEYS', ours .. 'spool')) do
  held[#held + 1] = string.match(name, '\31(.*)$')
  held[#held + 1] = 1
end

local blocked = {}
for _, register in ipairs({'unknown', 'broken'}) do
  local lists = redis.call('HGETALL', ours .. register)
  for i = 1, #lists, 2 do
    local _, queue = string.match(lists[i + 1], '^(.*)\31([^\31]*)\31%d+$')
    blocked[#blocked + 1] = queue
    blocked[#blocked + 1] = redis.call('LLEN', lists[i])
  end
end

local dead = {}
local entries = redis.call('LRANGE', ours .. 'dead', 0, LOOKED_AT - 1)
for _, entry in ipairs(entries) do
  local kept = redis.call('HMGET', dead_key(entry), 'queue', 'kind')
  if kept[1] then
    dead[#dead + 1] = kept[1]
    dead[#dead + 1] = kept[2]
  end
end
local more = redis.call('LLEN', ours .. 'dead') - #entries
local changed = redis.call('HGET', ours .. 'server', 'changed') or '0'
return {redis.call('HGETALL', ours .. 'tally'), waiting, held, blocked, dead, more, changed}
