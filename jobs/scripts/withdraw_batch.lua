-- Begins or goes on to withdraw a batch: it is not made any more, and its jobs are to be forgotten.
-- args: id, broken (true: only where its request counts as broken off)
-- Returns the ids of its jobs; none where there are none left, or where the batch is made
local due = redis.call('ZSCORE', KEY.open_batches, args.id)
if args.broken and (not due or tonumber(due) > now_ms()) then return {} end
if is_made(args.id) then
    redis.call('ZREM', KEY.open_batches, args.id)
    return {}
end
redis.call('SET', KEY.withdrawn_batch .. args.id, '1', 'EX', LIMIT.withdrawn_batch_ttl_s)
local jobs = {}
for _, id in ipairs(redis.call('SMEMBERS', KEY.batch_jobs .. args.id)) do
    if redis.call('EXISTS', KEY.job .. id) == 1 then jobs[#jobs + 1] = id end
end
if #jobs == 0 then redis.call('ZREM', KEY.open_batches, args.id) end
return jobs
