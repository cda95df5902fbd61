-- End a job.  Only the holder of the lease may, and only once; a cancel that came first wins.
-- ARGV: 1 token, 2 iso time, 3 events kept, 4 drain kept, then for each job: id, state, outcome, keep s, megapixels
-- Returns for each job the state that it ended in, or '' where the lease was lost
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local registry = {succeeded = 'rq:finished:', failed = 'rq:failed:', canceled = 'rq:canceled:', expired = 'rq:failed:'}
local status = {succeeded = 'finished', failed = 'failed', canceled = 'canceled', expired = 'failed'}
local event = {succeeded = 'completed', failed = 'failed', canceled = 'canceled', expired = 'failed'}
local result = {succeeded = 1, failed = 2, canceled = 3, expired = 2}
local answers = {}
for i = 5, #ARGV, 5 do
    local id, state, keep = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
    local job, rq = 'undegrade:job:' .. id, 'rq:job:' .. id
    local known = redis.call('HMGET', job, 'lease', 'state', 'queue', 'cancel', 'bundle')
    if known[1] ~= ARGV[1] or known[2] ~= 'running' then
        answers[#answers + 1] = ''
    else
        if known[4] then state = 'canceled' end
        local queue, ends = known[3], math.floor(now / 1000) + keep
        redis.call('HSET', job, 'state', state, 'ended_ms', now, 'expires_ms', ends * 1000)
        if state == ARGV[i + 1] then redis.call('HSET', job, 'outcome', ARGV[i + 2]) end
        redis.call('HDEL', job, 'lease', 'worker', 'alone')
        redis.call('ZREM', 'undegrade:leases', id)
        redis.call('ZADD', 'undegrade:expiry', ends * 1000, id)
        redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. ARGV[1])
        redis.call('ZADD', registry[state] .. queue, ends, id)
        redis.call('HSET', rq, 'status', status[state], 'ended_at', ARGV[2])
        redis.call('XADD', 'rq:results:' .. id, 'MAXLEN', 10, '*', 'type', result[state], 'worker_name', '',
            'return_value', cjson.encode({state = state}))
        redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', ARGV[3], '*', 'type', event[state], 'data', '{}')
        for _, key in ipairs({job, rq, 'rq:results:' .. id, 'undegrade:events:' .. id}) do
            redis.call('EXPIRE', key, keep)
        end
        redis.call('LPUSH', 'undegrade:drain:' .. known[5], now .. ' ' .. ARGV[i + 4])
        redis.call('LTRIM', 'undegrade:drain:' .. known[5], 0, ARGV[4] - 1)
        redis.call('HINCRBY', 'undegrade:counters', 'ended:' .. known[5] .. ':' .. state, 1)
        redis.call('PUBLISH', 'undegrade:wake', id)
        answers[#answers + 1] = state
    end
end
return answers
