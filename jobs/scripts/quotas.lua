-- Shared functions that count what the quotas of a caller limit.
-- subject: the id of an API key; all callers without a key together are "-"

local DAY_MS = 86400000

-- The pixels that a caller has submitted today (UTC)
local function pixels_key(subject, now)
    return KEY.quota_pixels .. subject .. ':' .. string.format('%.0f', math.floor(now / DAY_MS))
end

local function seconds_of_day_left(now)
    return math.ceil((DAY_MS - now % DAY_MS) / 1000)
end

-- Jobs in line.  A worker of an earlier version ends a job without taking it out of the set: where the set seems full,
-- it is compared with the jobs, LIMIT.max_recounted of them, at most once in LIMIT.recount_ms
local function jobs_in_line(subject, quota)
    local set = KEY.in_line .. subject
    local count = redis.call('SCARD', set)
    if count < quota then return count end
    if not redis.call('SET', KEY.recounted .. subject, '1', 'NX', 'PX', LIMIT.recount_ms) then return count end
    for _, id in ipairs(redis.call('SRANDMEMBER', set, LIMIT.max_recounted)) do
        local state = redis.call('HGET', KEY.job .. id, 'state')
        if state ~= 'queued' and state ~= 'running' then redis.call('SREM', set, id) end
    end
    return redis.call('SCARD', set)
end

-- Returns nil where one more job with `pixels` is allowed, or {the quota, used, limit, seconds until it is whole again}
local function over_quota(quotas, subject, pixels, now)
    if quotas.jobs then
        local jobs = jobs_in_line(subject, quotas.jobs)
        if jobs >= quotas.jobs then return {'jobs', jobs, quotas.jobs, 0} end
    end
    if quotas.pixels then
        local used = tonumber(redis.call('GET', pixels_key(subject, now)) or 0)
        if used + pixels > quotas.pixels then
            return {'megapixels', used, quotas.pixels, seconds_of_day_left(now)}
        end
    end
    return nil
end

local function count_pixels(subject, pixels, now)
    local key = pixels_key(subject, now)
    redis.call('INCRBY', key, string.format('%.0f', pixels))
    redis.call('EXPIRE', key, 2 * DAY_MS / 1000)
end

local function count_submission(quotas, id, subject, pixels, now)
    redis.call('SADD', KEY.in_line .. subject, id)
    if quotas and quotas.pixels then count_pixels(subject, pixels, now) end
end
