-- Notes that a picture is in its object store.  May be repeated.
-- args: name
-- Returns 1, or 0 where it is not wanted any more: its job has ended or is deleted
local began_ms = redis.call('ZSCORE', KEY.blobs_in_flight, args.name)
redis.call('ZREM', KEY.blobs_in_flight, args.name)
if began_ms and tonumber(began_ms) < 0 then redis.call('ZADD', KEY.blobs, 0, args.name) end  -- dropped meanwhile
local expires_s = redis.call('ZSCORE', KEY.blobs, args.name)
return expires_s and tonumber(expires_s) > 0 and 1 or 0
