-- Takes jobs out that a breaker has put aside. Put in front of trip, probe and unbreak.

-- The oldest first, to the front (RPUSH) or the end (LPUSH) of their queue. Returns how many.
local function take_out(list, queue, step, count, push)
  local taken = redis.call('RPOP', list, count) or {}
  local first, last, by = 1, #taken, 1
  -- What is pushed to the front last comes out first.
  if push == 'RPUSH' then first, last, by = #taken, 1, -1 end
  for i = first, last, by do
    local colon = string.find(taken[i], ':', 1, true)
    local ends = colon + tonumber(string.sub(taken[i], 1, colon - 1))
    local job = string.sub(taken[i], colon + 1, ends)
    redis.call(push, ready_key(queue, step), string.sub(taken[i], ends + 1))
    if job ~= '' then redis.call('HDEL', ours .. 'blocked', job) end
  end
  if #taken > 0 then wake(queue, #taken) end
  if redis.call('EXISTS', list) == 0 then redis.call('HDEL', ours .. 'broken', list) end
  return #taken
end

-- The oldest of the most urgent step, to the front of their queue: they are older than all that waits there.
local function bring_forward(task, count)
  local places = {}
  local known = redis.call('HGETALL', ours .. 'broken')
  for i = 1, #known, 2 do
    local whose, queue, step = string.match(known[i + 1], '^(.*)\31([^\31]*)\31(%d+)$')
    if whose == task then places[#places + 1] = {known[i], queue, tonumber(step)} end
  end
  table.sort(places, function(a, b) return a[3] < b[3] end)
  for _, place in ipairs(places) do
    if count <= 0 then break end
    count = count - take_out(place[1], place[2], place[3], count, 'RPUSH')
  end
end
