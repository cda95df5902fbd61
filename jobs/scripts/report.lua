-- Say how far a job is; fenced by the lease.
-- ARGV: 1 token, 2 id, 3 progress, 4 outcome so far or '', 5 event type or '', 6 event data, 7 events kept
local job = 'undegrade:job:' .. ARGV[2]
local known = redis.call('HMGET', job, 'lease', 'state')
if known[1] ~= ARGV[1] or known[2] ~= 'running' then return 0 end
redis.call('HSET', job, 'progress', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', job, 'outcome', ARGV[4]) end
if ARGV[5] ~= '' then
    redis.call('XADD', 'undegrade:events:' .. ARGV[2], 'MAXLEN', '~', ARGV[7], '*', 'type', ARGV[5], 'data', ARGV[6])
    redis.call('PUBLISH', 'undegrade:wake', ARGV[2])
end
return 1
