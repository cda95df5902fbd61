-- Deletes pictures from Redis, and everything that is noted about them.
-- A picture that is being written to an object store is deleted there once more, ten minutes later.
-- args: names, ids (of their jobs; '' where a name belongs to none), expires_s or nil: when an object store, which may
--       have them although it said otherwise, deletes them
for i, name in ipairs(args.names) do
    redis.call('UNLINK', KEY.blob .. name)
    local began_ms = redis.call('ZSCORE', KEY.blobs_in_flight, name)
    redis.call('ZREM', KEY.blobs_in_flight, name)
    if args.expires_s then
        redis.call('ZADD', KEY.blobs, args.expires_s, name)
    elseif began_ms and tonumber(began_ms) > 0 then  -- its write may still arrive, even from a process that is gone
        redis.call('ZADD', KEY.blobs_in_flight, -now_ms(), name)
        redis.call('ZADD', KEY.blobs, (now_ms() + LIMIT.doubtful_ms) / 1000, name)
    else
        redis.call('ZREM', KEY.blobs, name)
    end
    remove_blob_entry(args.ids[i], name)
end
return #args.names
