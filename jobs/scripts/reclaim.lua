-- Puts jobs whose lease has ended back into their queues: their worker is gone.
-- args: iso
-- Returns rows of {id, 'queued', 'canceled' or 'poison'}
local now, rows = now_ms(), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.leases, '-inf', now, 'LIMIT', 0, LIMIT.max_reclaimed_at_once)) do
    if redis.call('HGET', KEY.job .. id, 'state') == 'running' then
        rows[#rows + 1] = {id, requeue(id, 1, now)}
        redis.call('HINCRBY', KEY.counters, 'lease_expired', 1)
    else
        redis.call('ZREM', KEY.leases, id)
    end
end
return rows
