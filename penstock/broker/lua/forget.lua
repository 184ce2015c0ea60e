-- Forgets claimers that ended a while ago and hold nothing.
--
-- ARGV  2 worker  3 time (ms): claimers that ended until then; a command of theirs may be on its way for so long
-- Returns the number of claimers forgotten.
local key = worker_key(ARGV[2])
local ended, held, rest = {}, {}, {}
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  local claimer = string.match(fields[i], '^ended:(.*)$')
  if claimer and tonumber(fields[i + 1]) <= tonumber(ARGV[3]) then ended[claimer] = true end
end
for i = 1, #fields, 2 do
  local claimer, queue = string.match(fields[i], '^held:([^\31]*)\31(.*)$')
  if claimer and ended[claimer] then
    if redis.call('EXISTS', inflight_key(claimer, queue)) == 1 then held[claimer] = true end
    rest[#rest + 1] = {claimer, fields[i]}
  end
end
for _, each in ipairs(rest) do
  if not held[each[1]] then redis.call('HDEL', key, each[2]) end
end
local forgotten = 0
for claimer in pairs(ended) do
  if not held[claimer] then
    redis.call('HDEL', key, 'ended:' .. claimer, 'base:' .. claimer)
    forgotten = forgotten + 1
  end
end
return forgotten
