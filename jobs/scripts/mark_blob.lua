-- Notes a picture that is about to be written to an object store, and when it may be deleted.
-- args: name, size (bytes), expires_s, id (of its job) or nil
-- Returns 1, or 0 where its job has ended or is deleted
if args.id and not takes_blobs(args.id, args.name) then return 0 end
redis.call('ZADD', KEY.blobs, args.expires_s, args.name)
if args.id then
    redis.call('ZADD', KEY.blobs_in_flight, now_ms(), args.name)
    redis.call('ZREMRANGEBYSCORE', KEY.blobs_in_flight, '(0', now_ms() - LIMIT.doubtful_ms)
    add_blob(args.id, args.name, args.size, redis.call('HGET', KEY.job .. args.id, 'owner') or nil)
end
return 1
