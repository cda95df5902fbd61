-- Before every script that may end a job or put it back into line: the one way to do either.
local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local REGISTRY = {succeeded = 'rq:finished:', failed = 'rq:failed:', canceled = 'rq:canceled:', expired = 'rq:failed:'}
local STATUS = {succeeded = 'finished', failed = 'failed', canceled = 'canceled', expired = 'failed'}
local EVENT = {succeeded = 'completed', failed = 'failed', canceled = 'canceled', expired = 'failed'}
local RESULT = {succeeded = 1, failed = 2, canceled = 3, expired = 2}
-- Longer than the sweep's rhythm, so that what forgets a job still finds whose it was
local MARGIN_S = 3600

local function failure(code, detail, hint)
    return cjson.encode({failure = {code = code, detail = detail, hint = hint}})
end

-- `outcome` nil leaves what is known; the job's own keep_s counts, `keep` can only shorten it ('' does not)
local function finish(id, state, outcome, now, iso, kept, keep)
    local job, rq = 'undegrade:job:' .. id, 'rq:job:' .. id
    local known = redis.call('HMGET', job, 'queue', 'bundle', 'lease', 'keep_s', 'carried')
    local queue, seconds = known[1], tonumber(known[4] or 86400)
    if keep ~= '' then seconds = math.min(seconds, tonumber(keep)) end
    local ends = math.floor(now / 1000) + seconds
    redis.call('HSET', job, 'state', state, 'ended_ms', now, 'expires_ms', ends * 1000)
    if outcome then redis.call('HSET', job, 'outcome', outcome) end
    redis.call('HDEL', job, 'lease', 'worker', 'alone', 'carried')
    if known[5] then redis.call('UNLINK', known[5]) end -- nobody will need its input again
    redis.call('LREM', 'rq:queue:' .. queue, 0, id)
    redis.call('ZREM', 'undegrade:leases', id)
    if known[3] then redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. known[3]) end
    redis.call('ZADD', 'undegrade:expiry', ends * 1000, id)
    redis.call('ZADD', REGISTRY[state] .. queue, ends, id)
    redis.call('HSET', rq, 'status', STATUS[state], 'ended_at', iso)
    redis.call('XADD', 'rq:results:' .. id, 'MAXLEN', 10, '*', 'type', RESULT[state], 'worker_name', '',
        'return_value', cjson.encode({state = state}))
    redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', kept, '*', 'type', EVENT[state], 'data',
        cjson.encode({state = state}))
    for _, key in ipairs({job, rq, 'rq:results:' .. id, 'undegrade:events:' .. id}) do
        redis.call('EXPIRE', key, seconds + MARGIN_S)
    end
    redis.call('HINCRBY', 'undegrade:counters', 'ended:' .. known[2] .. ':' .. state, 1)
    redis.call('PUBLISH', 'undegrade:wake', id .. ' over')
end

-- A running job goes back to the front of its line; canceled meanwhile, or dead too often, it ends
local function requeue(id, deaths, most, now, iso, kept, keep)
    local job = 'undegrade:job:' .. id
    local known = redis.call('HMGET', job, 'queue', 'bundle', 'lease', 'cancel', 'deaths')
    local queue, died = known[1], tonumber(known[5] or 0) + deaths
    if known[4] then
        finish(id, 'canceled', nil, now, iso, kept, keep)
        return 'canceled'
    end
    redis.call('HSET', job, 'deaths', died)
    if died >= most then
        finish(id, 'failed', failure('poison-suspected', 'two workers died while they ran this job',
            'try another image or a smaller one'), now, iso, kept, keep)
        return 'poison'
    end
    redis.call('ZREM', 'undegrade:leases', id)
    redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. known[3])
    redis.call('HSET', job, 'state', 'queued')
    if deaths > 0 then redis.call('HSET', job, 'alone', '1') else redis.call('HINCRBY', job, 'attempts', -1) end
    redis.call('HDEL', job, 'lease', 'worker', 'started_ms', 'progress', 'outcome')
    redis.call('HSET', 'rq:job:' .. id, 'status', 'queued', 'started_at', '', 'worker_name', '')
    redis.call('LPUSH', 'rq:queue:' .. queue, id)
    redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', kept, '*', 'type', 'queued', 'data',
        '{"again":true}')
    redis.call('LPUSH', 'undegrade:bell:' .. known[2], id)
    redis.call('LTRIM', 'undegrade:bell:' .. known[2], 0, 31)
    redis.call('PUBLISH', 'undegrade:wake', id)
    return 'queued'
end
