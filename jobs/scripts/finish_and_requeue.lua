-- Shared functions that end a job (`finish`) or put it back into its queue (`requeue`): the only way to do either.
-- args.iso: the time as RQ writes it

local REGISTRY = {succeeded = KEY.rq_finished, failed = KEY.rq_failed, canceled = KEY.rq_canceled,
    expired = KEY.rq_failed}
local STATUS = {succeeded = 'finished', failed = 'failed', canceled = 'canceled', expired = 'failed'}
local EVENT = {succeeded = 'completed', failed = 'failed', canceled = 'canceled', expired = 'expired'}
local RESULT = {succeeded = 1, failed = 2, canceled = 3, expired = 2}

local function failure(code, detail, hint)
    return cjson.encode({failure = {code = code, detail = detail, hint = hint}})
end

-- Counts a failure by the code of its error
local function count_failure(bundle, outcome)
    local valid, known = pcall(cjson.decode, outcome or '')
    local code = valid and type(known) == 'table' and type(known.failure) == 'table' and known.failure.code
    if code then redis.call('HINCRBY', KEY.counters, 'failed:' .. bundle .. ':' .. code, 1) end
end

-- The input goes with the end of a job, and the pictures of the passes go with a job that did not succeed.  The input of
-- a job that failed stays as long as its record, so that it can be tried again.
-- A job is canceled by DELETE, which leaves nothing of its content
local function drop_what_is_over(id, state, expires_s, lives_s)
    local known = redis.call('HMGET', KEY.job .. id, 'carried', 'unstored')
    if state == 'failed' and not known[2] then
        keep_blob(id .. '/input', expires_s, lives_s)
    else
        if known[1] then redis.call('UNLINK', known[1]) end
        drop_blob(id, id .. '/input')
    end
    if state ~= 'succeeded' then drop_pictures(id) end
    if state == 'canceled' then redis.call('HDEL', KEY.job .. id, 'outcome', 'picture') end
end

local function end_lease(id, queue, token)
    redis.call('ZREM', KEY.leases, id)
    redis.call('SREM', KEY.leases_of .. token, id)
    redis.call('ZREM', KEY.rq_started .. queue, id .. ':' .. token)
end

-- outcome nil: what is known stays.  keep_s can only shorten the job's own keep_s; nil does not.  cause: {code, detail,
-- hint} of a job that an operator ends; waiting clients are told
local function finish(id, state, outcome, now, keep_s, cause)
    local job, rq = KEY.job .. id, KEY.rq_job .. id
    local known = redis.call('HMGET', job, 'queue', 'bundle', 'lease', 'keep_s', 'state', 'hooks', 'owner')
    local queue, bundle, lease = known[1], known[2], known[3]
    local seconds = tonumber(known[4] or LIMIT.default_keep_s)
    if keep_s then seconds = math.min(seconds, keep_s) end
    local expires_s = math.floor(now / 1000) + seconds
    redis.call('HSET', job, 'state', state, 'ended_ms', now, 'expires_ms', expires_s * 1000)
    if outcome then redis.call('HSET', job, 'outcome', outcome) end
    drop_what_is_over(id, state, expires_s, seconds + LIMIT.expiry_margin_s)
    if cause then redis.call('HSET', job, 'outcome', cjson.encode({failure = cause})) end
    redis.call('HDEL', job, 'lease', 'worker', 'alone', 'carried')
    if known[5] == 'queued' then leave_line(queue, id) end
    redis.call('ZREM', KEY.leases, id)  -- also where nobody holds it
    redis.call('ZREM', KEY.deadlines, id)
    redis.call('SREM', KEY.in_line .. (known[7] or KEY.anybody), id)
    change_state(id, known[7] or nil, state)
    if lease then end_lease(id, queue, lease) end
    redis.call('ZADD', KEY.expiry, expires_s * 1000, id)
    redis.call('ZADD', REGISTRY[state] .. queue, expires_s, id)
    redis.call('HSET', rq, 'status', STATUS[state], 'ended_at', args.iso)
    redis.call('XADD', KEY.rq_results .. id, 'MAXLEN', LIMIT.max_rq_results_per_job, '*', 'type', RESULT[state],
        'worker_name', '', 'return_value', cjson.encode({state = state}))
    add_event(id, EVENT[state], cjson.encode({state = state, error = cause}))
    for _, key in ipairs({job, rq, KEY.rq_results .. id, KEY.events .. id, KEY.blobs_of_job .. id}) do
        redis.call('EXPIRE', key, seconds + LIMIT.expiry_margin_s)
    end
    add_deliveries(id, state, EVENT[state], known[6], seconds + LIMIT.expiry_margin_s, now)
    redis.call('HINCRBY', KEY.counters, 'ended:' .. bundle .. ':' .. state, 1)
    if state == 'failed' or state == 'expired' then count_failure(bundle, outcome) end
    tell_change(id, true)
end

local function expire(id, now, doing)
    finish(id, 'expired', failure('deadline', 'the deadline passed while the job ' .. doing,
        'submit it again with a later deadline_s, or in a faster lane'), now)
end

-- Puts a running job back to the front of its tenant's line.  A job that was canceled meanwhile, whose deadline has passed, or
-- whose worker or engine died LIMIT.max_deaths times, ends instead: the last with the failure `cause`, or as suspected
-- poison.
-- Returns 'queued', 'canceled', 'expired' or 'poison'
local function requeue(id, deaths, now, cause)
    local job = KEY.job .. id
    local known = redis.call('HMGET', job, 'queue', 'bundle', 'lease', 'cancel', 'deaths', 'deadline_ms', 'owner')
    local queue, bundle, lease, canceled = known[1], known[2], known[3], known[4]
    local total_deaths = tonumber(known[5] or 0) + deaths
    if canceled then
        finish(id, 'canceled', nil, now)
        return 'canceled'
    end
    redis.call('HSET', job, 'deaths', total_deaths)
    if total_deaths >= LIMIT.max_deaths then
        cause = cause or {code = 'poison-suspected', detail = 'two workers died while they ran this job',
            hint = 'try another image or a smaller one'}
        finish(id, 'failed', failure(cause.code, cause.detail, cause.hint), now)
        return 'poison'
    end
    if known[6] and now > tonumber(known[6]) then
        expire(id, now, 'waited for another worker')
        return 'expired'
    end
    drop_pictures(id)
    end_lease(id, queue, lease)
    redis.call('HSET', job, 'state', 'queued', 'queued_ms', now)
    change_state(id, known[7] or nil, 'queued')
    if deaths > 0 then redis.call('HSET', job, 'alone', '1') else redis.call('HINCRBY', job, 'attempts', -1) end
    redis.call('HDEL', job, 'lease', 'worker', 'started_ms', 'progress', 'outcome')
    redis.call('HSET', KEY.rq_job .. id, 'status', 'queued', 'started_at', '', 'worker_name', '')
    return_to_line(queue, id)
    if known[6] then redis.call('ZADD', KEY.deadlines, known[6], id) end
    add_event(id, 'queued', '{"again":true}')
    add_arrival(id, bundle)
    tell_change(id, false)
    return 'queued'
end
