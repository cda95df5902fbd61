-- Stores a picture in Redis.
-- args: name, ttl_s, id (of its job) or nil
-- bytes: data
-- Returns 1, or 0 where its job has ended or is deleted
if args.id and not takes_blobs(args.id, args.name) then return 0 end
redis.call('SET', KEY.blob .. args.name, bytes.data, 'EX', args.ttl_s)
if args.id then add_blob(args.id, args.name, #bytes.data, redis.call('HGET', KEY.job .. args.id, 'owner') or nil) end
return 1
