-- Shared functions for the labels of the caller: for each label, an index of its jobs by the millisecond of their arrival,
-- once for their owner and once for all owners together.

local function label_index(owner, key, value)
    return KEY.labeled .. (owner or '*') .. ':' .. key .. ':' .. value
end

local function each_label_index(labels, owner, act)
    for key, value in pairs(labels) do
        act(label_index(nil, key, value))
        if owner then act(label_index(owner, key, value)) end
    end
end

-- labels: an object, or nil.  keep_s: of the job.  An index lives as long as a job in it may, and loses what a process
-- of an earlier version has forgotten without it
local function index_labels(id, labels, owner, now, keep_s)
    if not labels or not next(labels) then return end
    local lives_s = LIMIT.queued_ttl_s + keep_s + LIMIT.expiry_margin_s
    redis.call('HSET', KEY.job .. id, 'labels', cjson.encode(labels))
    each_label_index(labels, owner, function(index)
        redis.call('ZADD', index, now, id)
        redis.call('ZREMRANGEBYSCORE', index, '-inf', now - lives_s * 1000)
        redis.call('EXPIRE', index, lives_s)
    end)
end

local function unindex_labels(id)
    local known = redis.call('HMGET', KEY.job .. id, 'labels', 'owner')
    if not known[1] then return end
    each_label_index(cjson.decode(known[1]), known[2], function(index) redis.call('ZREM', index, id) end)
end
