-- Puts a message that a stock worker left unacknowledged back on its queue, to the front.
--
-- ARGV  2 kombu's hash  3 kombu's index  4 tag  5 queue  6 step  7 raw
-- Returns 1, or 0: the worker has acknowledged it, or somebody else has put it back.
if redis.call('HEXISTS', ARGV[2], ARGV[4]) == 0 then return 0 end
redis.call('RPUSH', ready_key(ARGV[5], ARGV[6]), ARGV[7])
redis.call('HDEL', ARGV[2], ARGV[4])
redis.call('ZREM', ARGV[3], ARGV[4])
redis.call('SADD', ours .. 'queues', ARGV[5])
wake(ARGV[5], 1)
return 1
