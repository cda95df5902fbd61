-- Counts a request in the bucket of its caller, and says how much of the other quotas is used.
-- A bucket is one number, the microsecond at which it is full again (GCRA): no request adds a key, and no clock of an API
-- process matters.
-- args: subject, bucket ({burst, interval_us}) or nil, jobs, pixels and waits (the quotas) or nil, now_us or nil for the time
-- Returns {1 counted or 0 refused, requests left, microseconds until one more is allowed, microseconds until the bucket is
--      full, jobs in line, pixels of today, open waits, seconds left of the day}
local now_us = args.now_us
if not now_us then
    local time = redis.call('TIME')
    now_us = time[1] * 1000000 + time[2]
end
local now = math.floor(now_us / 1000)
local counted, left, retry_us, full_us = 1, 0, 0, 0
if args.bucket then
    local key, interval, size = KEY.quota_requests .. args.subject, args.bucket.interval_us, args.bucket.burst
    local full_at = math.max(tonumber(redis.call('GET', key) or 0), now_us)
    if full_at > now_us + size * interval then  -- the bucket was larger before: it is at most empty
        full_at = now_us + size * interval
        redis.call('SET', key, string.format('%.3f', full_at), 'PX', math.ceil(size * interval / 1000) + 1000)
    end
    retry_us = full_at + interval - now_us - size * interval
    if retry_us > 0.5 then
        counted = 0
    else
        full_at = full_at + interval
        retry_us = 0
        redis.call('SET', key, string.format('%.3f', full_at), 'PX', math.ceil((full_at - now_us) / 1000) + 1000)
    end
    full_us = full_at - now_us
    left = math.floor((size * interval - full_us) / interval + 1e-6)
end
local jobs = args.jobs and jobs_in_line(args.subject, args.jobs) or 0
local pixels = args.pixels and redis.call('GET', pixels_key(args.subject, now)) or 0
local waits = args.waits and redis.call('ZCOUNT', KEY.quota_waits .. args.subject, '(' .. now, '+inf') or 0
return {counted, left, math.ceil(retry_us), math.ceil(full_us), jobs, tonumber(pixels), waits, seconds_of_day_left(now)}
