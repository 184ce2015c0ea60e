-- Ends a claimer whose process has ended: it claims nothing more, not even by a command that is still on its way.
--
-- ARGV  2 worker  3 claimer
-- Returns {queue, number of tokens, token, …, queue, …}: what it holds, to be settled by whoever ended it.
--
-- Repeated, it returns what is still held. The fields that this leaves in the worker's hash go by `forget`.
local key = worker_key(ARGV[2])
redis.call('HSET', key, 'ended:' .. ARGV[3], string.format('%.0f', now_ms()))
local reply = {}
for _, field in ipairs(redis.call('HKEYS', key)) do
  local claimer, queue = string.match(field, '^held:([^\31]*)\31(.*)$')
  if claimer == ARGV[3] then
    local tokens = redis.call('HKEYS', inflight_key(claimer, queue))
    reply[#reply + 1], reply[#reply + 2] = queue, #tokens
    for _, token in ipairs(tokens) do reply[#reply + 1] = token end
  end
end
return reply
