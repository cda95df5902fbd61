-- Opens an upload into an object store: keeps room for its image, and notes whose it is.
-- args: id, name (of the blob), record (JSON of jobs/uploads.py), ttl_s, expires_s, owner or nil, size (bytes),
--       room (see admission.lua) or nil for no limit, claim (see claims.lua) or nil
-- Returns {}, {'claimed'; what the claim holds} or what admission.lua says
local claimed = claim_holder(args.claim, args.id)
if claimed then return {'claimed', claimed} end
local refused = args.room and refusal(args.room, args.owner, now_ms())
if refused then return refused end
redis.call('SET', KEY.upload .. args.id, args.record, 'EX', args.ttl_s)
redis.call('ZADD', KEY.blobs, args.expires_s, args.name)
add_blob(args.id, args.name, args.size, args.owner)
take_claim(args.claim, args.id)
return {}
