-- Take back the jobs whose lease has run out: their worker is gone.
-- ARGV: 1 most deaths, 2 iso time, 3 events kept, 4 keep s or '', 5 most jobs at a time
-- Returns rows of {id, 'queued', 'canceled' or 'poison'}
local now, rows = now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'undegrade:leases', '-inf', now, 'LIMIT', 0, ARGV[5])) do
    if redis.call('HGET', 'undegrade:job:' .. id, 'state') == 'running' then
        rows[#rows + 1] = {id, requeue(id, 1, tonumber(ARGV[1]), now, ARGV[2], ARGV[3], ARGV[4])}
        redis.call('HINCRBY', 'undegrade:counters', 'lease_expired', 1)
    else
        redis.call('ZREM', 'undegrade:leases', id)
    end
end
return rows
