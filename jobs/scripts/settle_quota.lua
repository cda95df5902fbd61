-- Ends what take_quota began: the job is there, or it will never be; then its pixels are given back.
-- args: subject, id, pixels (to give back) or nil
local taken = redis.call('ZREM', KEY.quota_pending .. args.subject, args.id)
local key = pixels_key(args.subject, now_ms())
if taken == 1 and args.pixels and redis.call('EXISTS', key) == 1 then
    redis.call('DECRBY', key, string.format('%.0f', args.pixels))
end
return taken
