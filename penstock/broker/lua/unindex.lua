-- Takes claimed jobs off the waiting index of their queue, and off the list of blocked jobs.
--
-- ARGV  2 queue  3… job ids
redis.call('ZREM', waiting_key(ARGV[2]), unpack(ARGV, 3))
if redis.call('EXISTS', ours .. 'blocked') == 1 then redis.call('HDEL', ours .. 'blocked', unpack(ARGV, 3)) end
return 1
