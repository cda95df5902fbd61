-- Shared by release and reclaim: a running job goes back to the front of its line, or ends.
local function finish(id, known, state, code, now, iso, kept, keep)
    local job, rq, queue = 'undegrade:job:' .. id, 'rq:job:' .. id, known[3]
    local ends = math.floor(now / 1000) + tonumber(keep)
    redis.call('HSET', job, 'state', state, 'ended_ms', now, 'expires_ms', ends * 1000)
    if code then
        redis.call('HSET', job, 'outcome', cjson.encode({failure = {code = code,
            detail = 'two workers died while they ran this job', hint = 'try another image or a smaller one'}}))
    end
    redis.call('HDEL', job, 'lease', 'worker', 'alone')
    redis.call('ZADD', 'undegrade:expiry', ends * 1000, id)
    redis.call('ZADD', (state == 'canceled' and 'rq:canceled:' or 'rq:failed:') .. queue, ends, id)
    redis.call('HSET', rq, 'status', state == 'canceled' and 'canceled' or 'failed', 'ended_at', iso)
    redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', kept, '*', 'type', state, 'data', '{}')
    redis.call('HINCRBY', 'undegrade:counters', 'ended:' .. known[4] .. ':' .. state, 1)
    for _, key in ipairs({job, rq, 'undegrade:events:' .. id}) do redis.call('EXPIRE', key, keep) end
    redis.call('PUBLISH', 'undegrade:wake', id)
end

local function requeue(id, known, deaths, most, now, iso, kept, keep)
    local job, queue = 'undegrade:job:' .. id, known[3]
    redis.call('ZREM', 'undegrade:leases', id)
    redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. known[1])
    local died = tonumber(known[6] or 0) + deaths
    if known[5] then
        finish(id, known, 'canceled', nil, now, iso, kept, keep)
        return 'canceled'
    end
    if died >= most then
        redis.call('HSET', job, 'deaths', died)
        finish(id, known, 'failed', 'poison-suspected', now, iso, kept, keep)
        return 'poison'
    end
    redis.call('HSET', job, 'state', 'queued', 'deaths', died)
    if deaths > 0 then redis.call('HSET', job, 'alone', '1') else redis.call('HINCRBY', job, 'attempts', -1) end
    redis.call('HDEL', job, 'lease', 'worker', 'started_ms', 'progress')
    redis.call('HSET', 'rq:job:' .. id, 'status', 'queued', 'started_at', '', 'worker_name', '')
    redis.call('LPUSH', 'rq:queue:' .. queue, id)
    redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', kept, '*', 'type', 'queued', 'data',
        '{"again":true}')
    redis.call('LPUSH', 'undegrade:bell:' .. known[4], id)
    redis.call('PUBLISH', 'undegrade:wake', id)
    return 'queued'
end
