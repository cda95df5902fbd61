-- Take a job in: refuse when its queue is full, else make everything about it known at once.
-- KEYS: none (names are computed; RQ cannot live on a cluster either)
-- ARGV: 1 id, 2 queue, 3 spec, 4 data, 5 iso time, 6 most queued in the bundle, 7 queued ttl s, 8 bundle, 9 events kept,
--       10 bell kept, 11 deadline ms or '', 12 keep s, 13 owner or '', 14 key of a blob to keep or '', 15 its bytes,
--       16 its ttl s, 17.. the bundle's queues
-- Returns {accepted, jobs queued before it}
local id, queue, bundle = ARGV[1], ARGV[2], ARGV[8]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local queued = 0
for i = 17, #ARGV do queued = queued + redis.call('LLEN', 'rq:queue:' .. ARGV[i]) end
if queued >= tonumber(ARGV[6]) then return {0, queued} end
if redis.call('EXISTS', 'undegrade:job:' .. id) == 1 then return {-1, queued} end
redis.call('HSET', 'undegrade:job:' .. id, 'spec', ARGV[3], 'state', 'queued', 'queue', queue, 'bundle', bundle,
    'enqueued_ms', now, 'keep_s', ARGV[12])
if ARGV[14] ~= '' then
    redis.call('SET', ARGV[14], ARGV[15], 'EX', ARGV[16])
    redis.call('HSET', 'undegrade:job:' .. id, 'carried', ARGV[14])
end
if ARGV[11] ~= '' then redis.call('HSET', 'undegrade:job:' .. id, 'deadline_ms', ARGV[11]) end
redis.call('HSET', 'rq:job:' .. id, 'created_at', ARGV[5], 'enqueued_at', ARGV[5], 'data', ARGV[4], 'origin', queue,
    'description', 'undegrade.run', 'status', 'queued', 'timeout', -1, 'retries_left', 1, 'success_callback_name', '',
    'failure_callback_name', '', 'stopped_callback_name', '', 'started_at', '', 'ended_at', '', 'last_heartbeat', '',
    'worker_name', '', 'group_id', '')
redis.call('SADD', 'rq:queues', 'rq:queue:' .. queue)
redis.call('RPUSH', 'rq:queue:' .. queue, id)
redis.call('ZADD', 'undegrade:jobs', now, id)
if ARGV[13] ~= '' then
    redis.call('HSET', 'undegrade:job:' .. id, 'owner', ARGV[13])
    redis.call('ZADD', 'undegrade:jobs:' .. ARGV[13], now, id)
end
redis.call('ZADD', 'undegrade:expiry', now + ARGV[7] * 1000, id)
redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', ARGV[9], '*', 'type', 'queued', 'data', '{}')
redis.call('LPUSH', 'undegrade:bell:' .. bundle, id)
redis.call('LTRIM', 'undegrade:bell:' .. bundle, 0, ARGV[10] - 1)
return {1, queued}
