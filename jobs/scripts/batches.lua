-- Shared functions for batches: a batch is there as long as one of its jobs.

-- lives_s: as long as any job of it may live
local function join_batch(batch, id, lives_s)
    if not batch then return end
    redis.call('HSET', KEY.job .. id, 'batch', batch)
    redis.call('SADD', KEY.batch_jobs .. batch, id)
    redis.call('EXPIRE', KEY.batch_jobs .. batch, lives_s)
end

local function drop_batch(batch)
    redis.call('DEL', KEY.batch .. batch, KEY.batch_items .. batch, KEY.batch_jobs .. batch)
end

local function leave_batch(id)
    local batch = redis.call('HGET', KEY.job .. id, 'batch')
    if not batch then return end
    redis.call('SREM', KEY.batch_jobs .. batch, id)
    if redis.call('EXISTS', KEY.batch_jobs .. batch) == 0 then drop_batch(batch) end
end
