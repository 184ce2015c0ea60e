-- Takes jobs out that a breaker has put aside. Put in front of trip, probe and unbreak.

-- The oldest first, to the front (RPUSH) or the end (LPUSH) of their queue. Returns their messages.
local function take_out(list, queue, step, count, push)
  local taken, raws = redis.call('RPOP', list, count) or {}, {}
  local first, last, by = 1, #taken, 1
  -- What is pushed to the front last comes out first.
  if push == 'RPUSH' then first, last, by = #taken, 1, -1 end
  for i = first, last, by do
    local colon = string.find(taken[i], ':', 1, true)
    local ends = colon + tonumber(string.sub(taken[i], 1, colon - 1))
    local job = string.sub(taken[i], colon + 1, ends)
    raws[#raws + 1] = string.sub(taken[i], ends + 1)
    redis.call(push, ready_key(queue, step), raws[#raws])
    if job ~= '' then redis.call('HDEL', ours .. 'blocked', job) end
  end
  if #taken > 0 then wake(queue, #taken) end
  if redis.call('EXISTS', list) == 0 then redis.call('HDEL', ours .. 'broken', list) end
  return raws
end

-- The oldest of the most urgent step, to the front of their queue: they are older than all that waits there. Their
-- messages are noted, so that somebody can see later whether they have been taken.
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
    local raws = take_out(place[1], place[2], place[3], count, 'RPUSH')
    count = count - #raws
    for _, raw in ipairs(raws) do
      local noted = 'forward:' .. place[2] .. FIELD .. place[3] .. FIELD .. redis.sha1hex(raw)
      redis.call('HSET', breaker_key(task), noted, raw)
    end
  end
end
