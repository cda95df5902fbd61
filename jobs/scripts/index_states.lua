-- Brings the index of jobs by state up to date with what processes of earlier versions have done: they submit, end and
-- forget jobs without it.  Each call looks at a bounded number of jobs.
-- args: count (of the jobs of one call), lanes
-- Returns 1 where a pass over all jobs has more to do, else 0
local check = KEY.states_check

local is_lane = {}
for _, lane in ipairs(args.lanes) do is_lane[lane] = true end

-- What RQ's own structures say of the jobs that have not ended, minus what the index says.  All versions keep the former
local function active_beyond_index()
    local count = -redis.call('ZCARD', state_index(nil, 'queued')) - redis.call('ZCARD', state_index(nil, 'running'))
    for _, key in ipairs(redis.call('SMEMBERS', KEY.rq_queues)) do
        local queue = string.sub(key, #KEY.rq_queue + 1)
        if is_lane[string.match(queue, '[^.]*$')] then
            count = count + redis.call('LLEN', key) + redis.call('ZCARD', KEY.rq_started .. queue)
        end
    end
    return count
end

-- Begins of jobs do not change these counts, so some of those that workers have, and some of those that are listed as
-- running, are compared at each call
local function mend_some(index)
    local size, some = redis.call('ZCARD', index), LIMIT.max_running_compared
    local first = size > some and math.floor(now_ms() / 100) * some % size or 0
    for _, id in ipairs(redis.call('ZRANGE', index, first, first + some - 1)) do mend_state(id) end
end

-- A pass walks along all jobs, then along each state's index
local function sorted_set(number)
    return number == 0 and KEY.jobs or state_index(nil, STATES[number])
end

local function jobs_after(number, ms, id)
    local index = sorted_set(number)
    local rank = id and redis.call('ZRANK', index, id)
    local first = rank and rank + 1 or ms and redis.call('ZCOUNT', index, '-inf', '(' .. ms) or 0
    return redis.call('ZRANGE', index, first, first + args.count - 1, 'WITHSCORES')
end

-- Counts do not change where as many jobs were added as forgotten, so the newest ones are compared at each call, too
local function mend_newest()
    for _, id in ipairs(redis.call('ZRANGE', KEY.jobs, -LIMIT.max_running_compared, -1)) do mend_state(id) end
end

mend_newest()
mend_some(KEY.leases)
mend_some(state_index(nil, 'running'))
local at = redis.call('HMGET', check, 'number', 'ms', 'id', 'accepted')
local number, accepted = tonumber(at[1] or nil), tonumber(at[4] or 0)
if not number then
    if all_indexed() and active_beyond_index() == accepted then return 0 end
    number = 0
    redis.call('HSET', check, 'number', 0)
end
local rows = jobs_after(number, at[2], at[3])
for i = 1, #rows, 2 do
    local id = rows[i]
    if number == 0 then
        mend_state(id)
    elseif not redis.call('ZSCORE', KEY.jobs, id) then
        leave_states(id, redis.call('HGET', KEY.job .. id, 'owner') or nil, STATES)
    end
end
if #rows == 2 * args.count then
    redis.call('HSET', check, 'ms', rows[#rows], 'id', rows[#rows - 1])
    return 1
end
redis.call('HDEL', check, 'ms', 'id')
if number < #STATES then
    redis.call('HSET', check, 'number', number + 1)
    return 1
end
-- What a whole pass has not mended is no job of ours, or a job that RQ's own tools have removed
redis.call('HDEL', check, 'number')
redis.call('HSET', check, 'accepted', string.format('%.0f', active_beyond_index()))
return 0
