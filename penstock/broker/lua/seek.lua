-- Finds the messages of a few jobs near the ends of a list, without handing out all the others, which may be large.
--
-- ARGV  2 key of the list  3 messages at each end that are looked at  4… job ids
-- Returns the messages. An id is found by its text, as every JSON encoder writes it.
local wanted = {}
for i = 4, #ARGV do wanted[ARGV[i]] = true end
local length, most = redis.call('LLEN', ARGV[2]), tonumber(ARGV[3])
local found = {}
local function look(first, last)
  for _, raw in ipairs(redis.call('LRANGE', ARGV[2], first, last)) do
    for id in string.gmatch(raw, '"id": ?"([^"]*)"') do
      if wanted[id] then
        found[#found + 1] = raw
        break
      end
    end
  end
end
look(math.max(length - most, 0), -1)
if length > most then look(0, math.min(most, length - most) - 1) end
return found
