-- Leave nothing behind of jobs.
-- ARGV: ids.  Returns how many there were
local count, queues = 0, redis.call('SMEMBERS', 'rq:queues')
for i = 1, #ARGV do
    local id = ARGV[i]
    local known = redis.call('HMGET', 'undegrade:job:' .. id, 'state', 'owner', 'lease')
    if known[1] then count = count + 1 end
    if known[2] then redis.call('ZREM', 'undegrade:jobs:' .. known[2], id) end
    for _, key in ipairs(queues) do  -- few, and a job whose hash is gone no longer says in which it was
        local queue = string.sub(key, 10)
        if known[1] == 'queued' then redis.call('LREM', key, 0, id) end
        if known[3] then redis.call('ZREM', 'rq:wip:' .. queue, id .. ':' .. known[3]) end
        for _, registry in ipairs({'rq:finished:', 'rq:failed:', 'rq:canceled:'}) do
            redis.call('ZREM', registry .. queue, id)
        end
    end
    for _, set in ipairs({'undegrade:jobs', 'undegrade:expiry', 'undegrade:leases'}) do redis.call('ZREM', set, id) end
    redis.call('DEL', 'undegrade:job:' .. id, 'undegrade:events:' .. id, 'rq:job:' .. id, 'rq:results:' .. id)
end
return count
