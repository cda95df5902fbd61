-- Leases up to max_jobs jobs across lanes in one step, so that no job is ever without an owner.  A leased job has not
-- started yet: workers take jobs ahead and decode them.  Its first report of progress starts it.
-- Nothing is leased to a worker that an operator drains, and nothing of a lane that an operator has paused.
-- args: max_jobs, worker, host (of the worker) or nil, token, iso, held (jobs that the worker holds), max_packed_bytes,
--       max_input_bytes (inputs to hand over, in all), lanes (list of {queue, lane, head_start_ms}), tell_alone or nil
-- Returns rows of {id, 'leased', spec, data, callbacks, attempts, deaths, alone, cancel, input or '', milliseconds in the
--      queue, request or '', number of the lease} or {id, 'foreign', data, callbacks} or {id, 'oversized', bytes}; at the end {id, 'expired'};
--      {'', 'alone'} with tell_alone, where the next job must run alone; {{'', 'drained'}} to a worker that is drained
local now, rows, expired, input_bytes_left = now_ms(), {}, {}, args.max_input_bytes
local paused = {}
for _, lane in ipairs(redis.call('HKEYS', KEY.paused)) do paused[lane] = true end
for _, name in ipairs({args.worker, args.host}) do
    if redis.call('HEXISTS', KEY.drained, name) == 1 then return {{'', 'drained'}} end
end

-- The input that was submitted with the job, while it fits into this answer; '' for others
local function input(key)
    if not key then return '' end
    local size = redis.call('STRLEN', key)
    if size > input_bytes_left then return '' end
    input_bytes_left = input_bytes_left - size
    return redis.call('GET', key) or ''
end

-- Notes the turn of a lane: since when its oldest job has waited beyond the lane's head start; false where it has no job.
-- A worker may serve hundreds of lanes, so this asks as little as it can
local function look_at(lane)
    local since = not paused[lane.lane] and oldest_known(lane.queue)
    lane.turn = since and since + lane.head_start_ms
end

for _, lane in ipairs(args.lanes) do look_at(lane) end

-- The lane whose turn comes first, its first job, and the tenant of it; nothing where no lane has a job
local function next_job()
    while true do
        local best
        for _, lane in ipairs(args.lanes) do
            if lane.turn and (not best or lane.turn < best.turn) then best = lane end
        end
        if not best then return end
        local id, tenant = first_in_line(best.queue)
        if id then return best, id, tenant end
        best.turn = nil  -- a process of an earlier version has taken its last job
    end
end

local function refuse(id, queue, row)
    redis.call('ZADD', KEY.rq_failed .. queue, math.floor(now / 1000) + LIMIT.default_keep_s, id)
    redis.call('HSET', KEY.rq_job .. id, 'status', 'failed', 'ended_at', args.iso)
    redis.call('EXPIRE', KEY.rq_job .. id, LIMIT.default_keep_s)
    rows[#rows + 1] = row
end

-- '1' where the RQ job names a callback, which ours never do
local function callbacks(id)
    local named = redis.call('HMGET', KEY.rq_job .. id, 'success_callback_name', 'failure_callback_name',
        'stopped_callback_name', 'webhooks')
    for i = 1, 4 do if named[i] and named[i] ~= '' then return '1' end end
    return ''
end

while #rows < args.max_jobs do
    local lane, id, tenant = next_job()
    if not lane then break end
    local queue = lane.queue
    local job, rq = KEY.job .. id, KEY.rq_job .. id
    local known = redis.call('HMGET', job, 'spec', 'state', 'attempts', 'deaths', 'alone', 'cancel', 'deadline_ms',
        'carried', 'queued_ms', 'enqueued_ms', 'request')
    local spec, state, deadline_ms, alone = known[1], known[2], known[7], known[5] == '1'
    if alone and (#rows > 0 or args.held > 0) then
        if args.tell_alone then rows[#rows + 1] = {'', 'alone'} end
        break
    end
    local size = redis.call('HSTRLEN', rq, 'data')
    if size > args.max_packed_bytes then
        leave_line(queue, id)
        if spec then
            finish(id, 'failed', failure('refused', 'its body in the queue has ' .. size .. ' bytes',
                'submit it through the API'), now)
        end
        refuse(id, queue, {id, 'oversized', tostring(size)})
    elseif not spec then
        -- A job that only the line had is one that a process of an earlier version has forgotten
        if leave_line(queue, id) then
            refuse(id, queue, {id, 'foreign', redis.call('HGET', rq, 'data') or '', callbacks(id)})
        end
    elseif state == 'queued' and deadline_ms and now > tonumber(deadline_ms) then
        expire(id, now, 'was queued')
        expired[#expired + 1] = {id, 'expired'}
    elseif state ~= 'queued' then
        leave_line(queue, id)  -- it is over already: only its place in the queue had to go
    else
        charge(queue, tenant)
        leave_line(queue, id)
        redis.call('HSET', job, 'state', 'running', 'lease', args.token, 'worker', args.worker)
        redis.call('HINCRBY', job, 'attempts', 1)
        local number = redis.call('HINCRBY', job, 'lease_number', 1)
        redis.call('ZADD', KEY.leases, now + LIMIT.lease_ms, id)
        redis.call('SADD', KEY.leases_of .. args.token, id)
        redis.call('ZREM', KEY.deadlines, id)
        redis.call('HSET', rq, 'status', 'started', 'started_at', args.iso, 'worker_name', args.worker,
            'last_heartbeat', args.iso)
        redis.call('ZADD', KEY.rq_started .. queue, math.floor((now + LIMIT.rq_started_grace_ms) / 1000),
            id .. ':' .. args.token)
        rows[#rows + 1] = {id, 'leased', spec, redis.call('HGET', rq, 'data') or '', callbacks(id),
            tostring(tonumber(known[3] or 0) + 1), known[4] or '0', alone and '1' or '', known[6] or '',
            input(known[8]), string.format('%.0f', now - tonumber(known[9] or known[10] or now)), known[11] or '',
            tostring(number)}
        if alone then break end
    end
    look_at(lane)
end
for _, row in ipairs(expired) do rows[#rows + 1] = row end
return rows
