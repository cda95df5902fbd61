-- Makes the batch of jobs that have been submitted with its id.
-- args: id, owner or nil, items (list of JSON), keep_s (of its jobs), claim (see claims.lua) or nil
-- Returns {1} or {-3; what the claim holds} or {-2}: the batch is withdrawn
local claimed = claim_holder(args.claim, args.id)
if claimed then return {-3, claimed} end
if redis.call('EXISTS', KEY.withdrawn_batch .. args.id) == 1 then return {-2} end
local batch, items, now = KEY.batch .. args.id, KEY.batch_items .. args.id, now_ms()
local lives_s = LIMIT.queued_ttl_s + args.keep_s + LIMIT.expiry_margin_s
if redis.call('EXISTS', KEY.batch_jobs .. args.id) == 0 then lives_s = args.keep_s end  -- every image was refused
redis.call('HSET', batch, 'created_ms', now)
if args.owner then redis.call('HSET', batch, 'owner', args.owner) end
redis.call('DEL', items)
for _, item in ipairs(args.items) do redis.call('RPUSH', items, item) end
redis.call('EXPIRE', batch, lives_s)
redis.call('EXPIRE', items, lives_s)
index_batch(args.id, args.owner, now, lives_s)
redis.call('ZREM', KEY.open_batches, args.id)
take_claim(args.claim, args.id)
return {1}
