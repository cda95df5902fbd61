-- Deletes pictures from Redis, and everything that is noted about them.
-- args: names, ids (of their jobs; '' where a name belongs to none)
for i, name in ipairs(args.names) do
    redis.call('UNLINK', KEY.blob .. name)
    redis.call('ZREM', KEY.blobs, name)
    remove_blob_entry(args.ids[i], name)
end
return #args.names
