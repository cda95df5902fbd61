-- Counts a job that is about to be submitted on another shard: its pixels for good, the job itself until it is there.
-- A repetition changes nothing.
-- args: subject, id, pixels, quotas ({jobs, pixels}, each or nil)
-- Returns {1; ids that came before and may not be submitted yet} or {0; what over_quota of quotas.lua says}
local key, now = KEY.quota_pending .. args.subject, now_ms()
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
local rank = redis.call('ZRANK', key, args.id)
if rank then return {1, rank > 0 and redis.call('ZRANGE', key, 0, rank - 1) or {}} end
local earlier = redis.call('ZRANGE', key, 0, -1)
if args.quotas.pixels then
    local over = over_quota({pixels = args.quotas.pixels}, args.subject, args.pixels, now)
    if over then return {0, unpack(over)} end
    count_pixels(args.subject, args.pixels, now)
end
redis.call('ZADD', key, now + LIMIT.quota_pending_ms, args.id)
redis.call('PEXPIRE', key, LIMIT.quota_pending_ms)
return {1, earlier}
