-- Shared functions for batches: a batch is there as long as one of its jobs.

-- Holds a batch open that has jobs and is not made yet: an API process still reads the request
local function hold_open(batch)
    redis.call('ZADD', KEY.open_batches, now_ms() + LIMIT.open_batch_ms, batch)
end

local function is_made(batch) return redis.call('HEXISTS', KEY.batch .. batch, 'created_ms') == 1 end

-- lives_s: as long as any job of it may live
local function join_batch(batch, id, lives_s)
    if not batch then return end
    hold_open(batch)
    redis.call('HSET', KEY.job .. id, 'batch', batch)
    redis.call('SADD', KEY.batch_jobs .. batch, id)
    redis.call('EXPIRE', KEY.batch_jobs .. batch, lives_s)
end

-- The batches of an owner, or of all, by the millisecond of their creation
local function batch_index(owner)
    return KEY.batches .. (owner and ':' .. owner or '')
end

-- lives_s: of the batch.  An index lives as long as its youngest batch may
local function index_batch(batch, owner, now, lives_s)
    for _, index in ipairs(owner and {batch_index(nil), batch_index(owner)} or {batch_index(nil)}) do
        redis.call('ZADD', index, now, batch)
        if redis.call('TTL', index) < lives_s then redis.call('EXPIRE', index, lives_s) end
    end
end

local function drop_batch(batch)
    local owner = redis.call('HGET', KEY.batch .. batch, 'owner')
    redis.call('ZREM', batch_index(nil), batch)
    if owner then redis.call('ZREM', batch_index(owner), batch) end
    redis.call('DEL', KEY.batch .. batch, KEY.batch_items .. batch, KEY.batch_jobs .. batch)
end

local function leave_batch(id)
    local batch = redis.call('HGET', KEY.job .. id, 'batch')
    if not batch then return end
    redis.call('SREM', KEY.batch_jobs .. batch, id)
    if redis.call('EXISTS', KEY.batch_jobs .. batch) == 0 then drop_batch(batch) end
end
