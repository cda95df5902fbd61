-- Leave nothing behind of jobs that are over.
-- ARGV: ids.  Returns how many there were
local count = 0
for i = 1, #ARGV do
    local id = ARGV[i]
    local queue = redis.call('HGET', 'undegrade:job:' .. id, 'queue')
    local owner = redis.call('HGET', 'undegrade:job:' .. id, 'owner')
    if owner then redis.call('ZREM', 'undegrade:jobs:' .. owner, id) end
    if queue then
        redis.call('LREM', 'rq:queue:' .. queue, 0, id)
        for _, registry in ipairs({'rq:finished:', 'rq:failed:', 'rq:canceled:'}) do
            redis.call('ZREM', registry .. queue, id)
        end
        count = count + 1
    end
    redis.call('ZREM', 'undegrade:jobs', id)
    redis.call('ZREM', 'undegrade:expiry', id)
    redis.call('ZREM', 'undegrade:leases', id)
    redis.call('DEL', 'undegrade:job:' .. id, 'undegrade:events:' .. id, 'rq:job:' .. id, 'rq:results:' .. id)
end
return count
