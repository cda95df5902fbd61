-- Shared functions for a line: the queued jobs of one lane of one bundle.
-- RQ's list has them all, and is what RQ and processes of earlier versions read and change.  The scripts never search
-- it.  KEY.line has the same ids in the same order, so that a job's rank in it is its index in the list.
-- Each tenant (the owner of jobs; all callers without a key together) has a line of its own, first in, first out.  Which
-- tenant goes next is start-time fair queueing (Goyal, Vin and Cheng 1996): a job of a tenant of weight w lasts 1/w of
-- virtual time, the smallest start goes first, and a tenant that comes back starts at the virtual time of the last lease.

local function tenant_line(queue, tenant) return KEY.line_of_tenant .. queue .. ':' .. tenant end

local function tenant_of(id) return redis.call('HGET', KEY.job .. id, 'owner') or KEY.anybody end

-- With all the digits of a double, which tostring would round
local function exact(number) return string.format('%.17g', number) end

local weights = {}
local function weight_of(tenant)
    if not weights[tenant] then
        local stored = tenant ~= KEY.anybody and redis.call('HGET', KEY.api_keys, tenant)
        local valid, key = pcall(cjson.decode, stored or '{}')
        local weight = valid and type(key) == 'table' and type(key.weight) == 'number' and key.weight or 1
        weights[tenant] = math.min(math.max(weight, 1), LIMIT.max_weight)
    end
    return weights[tenant]
end

local function virtual_time(queue) return tonumber(redis.call('GET', KEY.virtual_time .. queue) or 0) end

-- Adds an id at the end (by 1) or at the front (by -1) of a sorted set that is a line
local function put_at_end(key, id, by)
    local outer = redis.call('ZRANGE', key, by > 0 and -1 or 0, by > 0 and -1 or 0, 'WITHSCORES')[2]
    redis.call('ZADD', key, exact((outer or 0) + by), id)
end

-- The start of a tenant's first job, in virtual time
local function start_of(queue, tenant) return tonumber(redis.call('ZSCORE', KEY.turns .. queue, tenant) or nil) end

-- Notes since when a tenant's first job waits
local function note_first(queue, tenant)
    local first = redis.call('ZRANGE', tenant_line(queue, tenant), 0, 0)[1]
    if first then
        redis.call('ZADD', KEY.firsts .. queue, redis.call('HGET', KEY.job .. first, 'enqueued_ms') or 0, tenant)
        return
    end
    local start = start_of(queue, tenant)
    redis.call('ZREM', KEY.turns .. queue, tenant)
    redis.call('ZREM', KEY.firsts .. queue, tenant)
    -- Its next job must not start before those that it has had already are over in virtual time
    if start and start > virtual_time(queue) then
        redis.call('ZADD', KEY.past_turns .. queue, exact(start), tenant)
    end
end

local function join_tenant(queue, id, by)
    local tenant = tenant_of(id)
    local line = tenant_line(queue, tenant)
    if redis.call('ZSCORE', line, id) then return end
    if not start_of(queue, tenant) then
        local past = tonumber(redis.call('ZSCORE', KEY.past_turns .. queue, tenant) or 0)
        redis.call('ZADD', KEY.turns .. queue, exact(math.max(virtual_time(queue), past)), tenant)
        redis.call('ZREM', KEY.past_turns .. queue, tenant)
    end
    put_at_end(line, id, by)
    if by < 0 or redis.call('ZCARD', line) == 1 then note_first(queue, tenant) end
end

-- The busy time of the line is over: nobody owes anything any more
local function close_line(queue)
    for _, tenant in ipairs(redis.call('ZRANGE', KEY.turns .. queue, 0, -1)) do
        redis.call('UNLINK', tenant_line(queue, tenant))
    end
    redis.call('DEL', KEY.line .. queue, KEY.turns .. queue, KEY.firsts .. queue, KEY.past_turns .. queue,
        KEY.virtual_time .. queue)
end

-- Takes up to LIMIT.max_adopted_at_once jobs into the line that only the list has: a process of an earlier version, or RQ,
-- has put them there.  Where such a process has changed the part that we know, the line is made anew; the lines of the
-- tenants stay as they are.
-- Returns whether the line has all jobs of the list
local function adopt(queue)
    local list, line = KEY.rq_queue .. queue, KEY.line .. queue
    local length, known = redis.call('LLEN', list), redis.call('ZCARD', line)
    if length == known then return true end
    if known > length then
        redis.call('UNLINK', line)
        known = 0
    end
    local again, complete = {}, known + LIMIT.max_adopted_at_once >= length
    for _, id in ipairs(redis.call('LRANGE', list, known, known + LIMIT.max_adopted_at_once - 1)) do
        local place = redis.call('ZRANK', line, id)
        if place then
            complete = false
            if redis.call('LINDEX', list, place) == id then  -- somebody has put it into the list twice
                redis.call('LREM', list, -1, id)
            else
                redis.call('UNLINK', line)
            end
            break
        end
        put_at_end(line, id, 1)
        if redis.call('HEXISTS', KEY.job .. id, 'queued_ms') == 1 then
            again[#again + 1] = id
        else
            join_tenant(queue, id, 1)
        end
    end
    -- Jobs that have been leased before were put to the front
    for i = #again, 1, -1 do join_tenant(queue, again[i], -1) end
    return complete
end

-- Takes a job out of the list, in a time that does not depend on the length of the list.  Its order stays, but for a job
-- that is far from both ends: the newest job takes its place, as the whole rest of the list would have to move.
-- Returns whether it was there
local function leave_list(queue, id)
    local list, line = KEY.rq_queue .. queue, KEY.line .. queue
    local place, length = redis.call('ZRANK', line, id), redis.call('LLEN', list)
    if not place and redis.call('ZCARD', line) == length then return false end
    if not place or redis.call('LINDEX', list, place) ~= id then
        -- An earlier version has put or taken jobs: this search is the price for it
        if place then redis.call('UNLINK', line) end
        return redis.call('LREM', list, 1, id) > 0
    end
    local after = length - 1 - place
    if math.min(place, after) <= LIMIT.max_searched then
        redis.call('LREM', list, place <= after and 1 or -1, id)
        redis.call('ZREM', line, id)
        return true
    end
    local last, score = redis.call('RPOP', list), redis.call('ZSCORE', line, id)
    redis.call('LSET', list, place, last)
    redis.call('ZREM', line, id)
    redis.call('ZADD', line, score, last)
    join_tenant(queue, last, 1)
    return true
end

-- Adds a new job, whose hash has its owner already
local function join_line(queue, id)
    local length = redis.call('RPUSH', KEY.rq_queue .. queue, id)
    if length == 1 then close_line(queue) end  -- where an earlier version has taken the last job
    if redis.call('ZCARD', KEY.line .. queue) == length - 1 then
        put_at_end(KEY.line .. queue, id, 1)
        join_tenant(queue, id, 1)
    else
        adopt(queue)
    end
end

-- Takes a job out of the line, wherever it is.  Returns whether the list had it
local function leave_line(queue, id)
    local was_there, tenant = leave_list(queue, id), tenant_of(id)
    local line = tenant_line(queue, tenant)
    local was_first = redis.call('ZRANGE', line, 0, 0)[1] == id
    redis.call('ZREM', line, id)
    if was_first then note_first(queue, tenant) end
    if was_there and redis.call('LLEN', KEY.rq_queue .. queue) == 0 then close_line(queue) end
    return was_there
end

-- Moves the virtual time to the start of a job that is leased now, and its tenant's next job behind it
local function charge(queue, tenant)
    local start = start_of(queue, tenant)
    local now = math.max(virtual_time(queue), start)
    redis.call('SET', KEY.virtual_time .. queue, exact(now))
    redis.call('ZADD', KEY.turns .. queue, exact(start + 1 / weight_of(tenant)), tenant)
    redis.call('ZREMRANGEBYSCORE', KEY.past_turns .. queue, '-inf', exact(now))
end

-- Puts a job that was leased back to the front of its tenant's line.  What it was charged is given back
local function return_to_line(queue, id)
    local tenant = tenant_of(id)
    if redis.call('LPUSH', KEY.rq_queue .. queue, id) == 1 then close_line(queue) end
    put_at_end(KEY.line .. queue, id, -1)
    join_tenant(queue, id, -1)
    local start = math.max(virtual_time(queue), start_of(queue, tenant) - 1 / weight_of(tenant))
    redis.call('ZADD', KEY.turns .. queue, exact(start), tenant)
end

-- The millisecond at which the oldest job of a line was enqueued; nil for an empty line.  The head of the list may be a
-- younger job that has taken the place of another
local function oldest_in_line(queue)
    local tenant = redis.call('ZRANGE', KEY.firsts .. queue, 0, 0)[1]
    local id = tenant and redis.call('ZRANGE', tenant_line(queue, tenant), 0, 0)[1]
        or redis.call('LINDEX', KEY.rq_queue .. queue, 0)
    return id and tonumber(redis.call('HGET', KEY.job .. id, 'enqueued_ms') or nil)
end

-- The same, as it was noted; false for an empty line.  One look for a line with jobs
local function oldest_known(queue)
    local since = redis.call('ZRANGE', KEY.firsts .. queue, 0, 0, 'WITHSCORES')[2]
    if not since and redis.call('LLEN', KEY.rq_queue .. queue) > 0 then
        adopt(queue)
        since = redis.call('ZRANGE', KEY.firsts .. queue, 0, 0, 'WITHSCORES')[2]
            or redis.call('HGET', KEY.job .. redis.call('LINDEX', KEY.rq_queue .. queue, 0), 'enqueued_ms') or '0'
    end
    return since and tonumber(since)
end

-- Returns the id of the first job of the tenant whose turn it is, and the tenant; or nothing for an empty line
local function first_in_line(queue)
    if redis.call('LLEN', KEY.rq_queue .. queue) == 0 then
        close_line(queue)
        return
    end
    for _ = 1, 3 do
        local complete = adopt(queue)
        local tenant = redis.call('ZRANGE', KEY.turns .. queue, 0, 0)[1]
        while tenant do
            local id = redis.call('ZRANGE', tenant_line(queue, tenant), 0, 0)[1]
            if id then return id, tenant end
            note_first(queue, tenant)  -- which takes it out of the turns
            tenant = redis.call('ZRANGE', KEY.turns .. queue, 0, 0)[1]
        end
        if complete then redis.call('UNLINK', KEY.line .. queue) end  -- the list has jobs that no tenant has
    end
end

-- Jobs of other tenants that workers take before one of this tenant that starts at `start`: as many of each as its share
-- allows.  Of many tenants, the first LIMIT.max_tenants_counted stand for the others
local function others_before(queue, tenant, start)
    local turns = KEY.turns .. queue
    local others = redis.call('ZRANGEBYSCORE', turns, '-inf', exact(start), 'WITHSCORES', 'LIMIT', 0,
        LIMIT.max_tenants_counted + 1)
    local before, counted, own_turn = 0, 0, start_of(queue, tenant) and 1 or 0
    for i = 1, #others, 2 do
        local other = others[i]
        if other ~= tenant then
            local jobs = (start - tonumber(others[i + 1])) * weight_of(other)
            -- Of equal starts, the tenant whose id is smaller goes first
            jobs = other < tenant and math.floor(jobs) + 1 or math.ceil(jobs)
            before = before + math.min(jobs, redis.call('ZCARD', tenant_line(queue, other)))
            counted = counted + 1
        end
    end
    if counted >= LIMIT.max_tenants_counted then
        before = before * (redis.call('ZCOUNT', turns, '-inf', exact(start)) - own_turn) / counted
    end
    return math.floor(before)
end

-- Jobs that workers will take before this one if no other job comes: those of its tenant that are older, and those of
-- others_before.
-- Returns nil where it is not queued
local function place_in_line(queue, id)
    local tenant = tenant_of(id)
    local own = redis.call('ZRANK', tenant_line(queue, tenant), id)
    if not own then
        -- A job that an earlier version has put there, and that has not been adopted yet
        if redis.call('ZCARD', KEY.line .. queue) == redis.call('LLEN', KEY.rq_queue .. queue) then return nil end
        return redis.call('HGET', KEY.job .. id, 'state') == 'queued' and redis.call('LPOS', KEY.rq_queue .. queue, id)
            or nil
    end
    local start = start_of(queue, tenant) + own / weight_of(tenant)
    return math.min(own + others_before(queue, tenant, start), redis.call('LLEN', KEY.rq_queue .. queue) - 1)
end

-- The same for a job that would come now, of this tenant
local function place_of_newcomer(queue, tenant)
    local own, start = redis.call('ZCARD', tenant_line(queue, tenant)), start_of(queue, tenant)
    if start then
        start = start + own / weight_of(tenant)
    else
        start = math.max(virtual_time(queue), tonumber(redis.call('ZSCORE', KEY.past_turns .. queue, tenant) or 0))
    end
    local length = redis.call('LLEN', KEY.rq_queue .. queue)
    local not_adopted = math.max(0, length - redis.call('ZCARD', KEY.line .. queue))
    return math.min(own + others_before(queue, tenant, start) + not_adopted, length)
end
