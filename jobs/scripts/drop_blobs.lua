-- Deletes pictures from Redis, and everything that is noted about them.
-- args: names, ids (of their jobs; '' where a name belongs to none), expires_s or nil: when an object store, which may
--       have them although it said otherwise, deletes them
for i, name in ipairs(args.names) do
    redis.call('UNLINK', KEY.blob .. name)
    if args.expires_s then
        redis.call('ZADD', KEY.blobs, args.expires_s, name)
    else
        redis.call('ZREM', KEY.blobs, name)
    end
    remove_blob_entry(args.ids[i], name)
end
return #args.names
