-- Counts attempts of a task that have ended, and opens or closes its breaker by them.
--
-- ARGV  2 task  3 failures that open it ('': the ratio does)  4 window (ms)  5 pause (ms)  6 probes  7 backoff
--       8 cap (ms)  9 ratio ('': none)  10 minimum of attempts for the ratio  11 failed attempts  12 others
--       13 what the last one failed with  14… pairs of claim, '1' if it failed, '0' if not, '': no attempt was made;
--       of claims that may be probes
-- Returns {'opened', 'closed' or '' for no change, failures in the window}
--
-- The window slides by twentieths, so that counting takes as much room for a thousand attempts as for one.
local SLICES = 20
local task, now = ARGV[2], now_ms()
local key, counts = breaker_key(task), attempts_key(task)
local function open()
  open_breaker(task, now, tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[6], ARGV[13])
end

local state = redis.call('HGET', key, 'state')
if state == 'half-open' then
  local failed, succeeded, in_vain, given_back = 0, 0, 0, 0
  for i = 14, #ARGV, 2 do
    -- What began before the breaker opened says nothing of now, nor does a probe that has answered before.
    local is_probe = redis.call('HDEL', key, 'probe:' .. ARGV[i]) == 1
    if ARGV[i + 1] == '' then
      in_vain = in_vain + 1
      if is_probe then given_back = given_back + 1 end
    elseif is_probe then
      if ARGV[i + 1] == '1' then failed = failed + 1 else succeeded = succeeded + 1 end
    end
  end
  if failed > 0 then
    open()
    return {'opened', failed}
  end
  if succeeded > 0 and redis.call('HINCRBY', key, 'succeeded', succeeded) >= tonumber(redis.call('HGET', key, 'probes')) then
    close_breaker(task)
    return {'closed', 0}
  end
  local kept = redis.call('HMGET', key, 'probes', 'left', 'succeeded')
  -- One that was made up for already has nothing to give back.
  local left = math.min(tonumber(kept[2]) + given_back, tonumber(kept[1]) - tonumber(kept[3]))
  redis.call('HSET', key, 'left', left)
  -- Also for a claim that was no probe: it may have been the job that was brought forward to be one.
  bring_forward(task, math.min(in_vain, left))
  return {'', 0}
end
if state then return {'', 0} end

local slice = math.max(math.floor(tonumber(ARGV[4]) / SLICES), 1)
local newest = math.floor(now / slice)
if ARGV[11] ~= '0' then redis.call('HINCRBY', counts, string.format('f%.0f', newest), ARGV[11]) end
if ARGV[12] ~= '0' then redis.call('HINCRBY', counts, string.format('o%.0f', newest), ARGV[12]) end
redis.call('PEXPIRE', counts, 2 * tonumber(ARGV[4]))
local sums = {f = 0, o = 0}
local fields = redis.call('HGETALL', counts)
for i = 1, #fields, 2 do
  local kind, at = string.sub(fields[i], 1, 1), tonumber(string.sub(fields[i], 2))
  if at > newest - SLICES and at <= newest then
    sums[kind] = sums[kind] + tonumber(fields[i + 1])
  else
    redis.call('HDEL', counts, fields[i])
  end
end
local is_over
if ARGV[9] == '' then
  is_over = sums.f >= tonumber(ARGV[3])
else
  local attempts = sums.f + sums.o
  is_over = attempts >= tonumber(ARGV[10]) and sums.f >= tonumber(ARGV[9]) * attempts
end
-- By a failure only: one that was closed by hand a moment ago is not opened by a success.
if is_over and ARGV[11] ~= '0' then
  open()
  return {'opened', sums.f}
end
return {'', sums.f}
