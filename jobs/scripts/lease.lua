-- Lease up to N jobs across lanes in one step, so that no job is ever in nobody's hands.
-- ARGV: 1 most jobs, 2 lease ms, 3 worker, 4 token, 5 iso time, 6 jobs in the worker's hands, 7 most data bytes,
--       8 events kept, 9 RQ's grace ms, 10 most bytes of inputs to hand over, then pairs of queue and head start ms
-- Returns rows of {id, 'leased', spec, data, callbacks, attempts, deaths, alone, cancel, input or ''}
--      or {id, 'foreign', data, callbacks} or {id, 'oversized', bytes}
local now, rows, room = now_ms(), {}, tonumber(ARGV[10])

-- The input that came with the job, while there is room in this answer; '' for others
local function input(key)
    if not key then return '' end
    local bytes = redis.call('STRLEN', key)
    if bytes > room then return '' end
    room = room - bytes
    return redis.call('GET', key) or ''
end

local function head()
    local best, best_queue, best_id
    for i = 11, #ARGV, 2 do
        local id = redis.call('LINDEX', 'rq:queue:' .. ARGV[i], 0)
        if id then
            local since = tonumber(redis.call('HGET', 'undegrade:job:' .. id, 'enqueued_ms') or 0)
            local turn = since + tonumber(ARGV[i + 1])
            if not best or turn < best then best, best_queue, best_id = turn, ARGV[i], id end
        end
    end
    return best_queue, best_id
end

local function refuse(id, queue, reason)
    redis.call('ZADD', 'rq:failed:' .. queue, math.floor(now / 1000) + 86400, id)
    redis.call('HSET', 'rq:job:' .. id, 'status', 'failed', 'ended_at', ARGV[5])
    redis.call('EXPIRE', 'rq:job:' .. id, 86400)
    rows[#rows + 1] = reason
end

local function callbacks(id)
    local named = redis.call('HMGET', 'rq:job:' .. id, 'success_callback_name', 'failure_callback_name',
        'stopped_callback_name', 'webhooks')
    for i = 1, 4 do if named[i] and named[i] ~= '' then return '1' end end
    return ''
end

while #rows < tonumber(ARGV[1]) do
    local queue, id = head()
    if not id then break end
    local job, rq = 'undegrade:job:' .. id, 'rq:job:' .. id
    local known = redis.call('HMGET', job, 'spec', 'state', 'attempts', 'deaths', 'alone', 'cancel', 'deadline_ms',
        'carried')
    local alone = known[5] == '1'
    if alone and (#rows > 0 or tonumber(ARGV[6]) > 0) then break end
    redis.call('LPOP', 'rq:queue:' .. queue)
    local bytes = redis.call('HSTRLEN', rq, 'data')
    if bytes > tonumber(ARGV[7]) then
        if known[1] then
            finish(id, 'failed', failure('refused', 'its body in the queue has ' .. bytes .. ' bytes',
                'submit it through the API'), now, ARGV[5], ARGV[8], '')
        end
        refuse(id, queue, {id, 'oversized', tostring(bytes)})
    elseif not known[1] then
        refuse(id, queue, {id, 'foreign', redis.call('HGET', rq, 'data') or '', callbacks(id)})
    elseif known[2] == 'queued' and known[7] and now > tonumber(known[7]) then
        finish(id, 'expired', failure('deadline', 'the deadline passed while the job was in line',
            'submit it again with a later deadline_s, or in a faster lane'), now, ARGV[5], ARGV[8], '')
    elseif known[2] ~= 'queued' then
        -- over already: nothing to do but to forget that it was in line
    else
        redis.call('HSET', job, 'state', 'running', 'lease', ARGV[4], 'worker', ARGV[3], 'started_ms', now)
        redis.call('HINCRBY', job, 'attempts', 1)
        redis.call('ZADD', 'undegrade:leases', now + ARGV[2], id)
        redis.call('HSET', rq, 'status', 'started', 'started_at', ARGV[5], 'worker_name', ARGV[3],
            'last_heartbeat', ARGV[5])
        redis.call('ZADD', 'rq:wip:' .. queue, math.floor((now + ARGV[9]) / 1000), id .. ':' .. ARGV[4])
        redis.call('XADD', 'undegrade:events:' .. id, 'MAXLEN', '~', ARGV[8], '*', 'type', 'started', 'data', '{}')
        redis.call('PUBLISH', 'undegrade:wake', id)
        rows[#rows + 1] = {id, 'leased', known[1], redis.call('HGET', rq, 'data') or '', callbacks(id),
            tostring(tonumber(known[3] or 0) + 1), known[4] or '0', alone and '1' or '', known[6] or '',
            input(known[8])}
        if alone then break end
    end
end
return rows
