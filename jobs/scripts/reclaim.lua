-- Puts jobs whose lease has ended back into their queues: their worker is gone.
-- args: iso, ending_only (true: only jobs that end now, canceled or past their deadline; the others wait for a worker)
-- Returns rows of {id, what requeue returns}
local now, rows, some = now_ms(), {}, LIMIT.max_leases_looked_at
local ended, first = redis.call('ZCOUNT', KEY.leases, '-inf', now), 0
-- While there is no worker, those that wait stay: then each call looks at others
if args.ending_only and ended > some then first = math.floor(now / 500) * some % ended end
local looked_at = ended > 0 and redis.call('ZRANGE', KEY.leases, first, math.min(first + some, ended) - 1) or {}
for _, id in ipairs(looked_at) do
    if #rows == LIMIT.max_reclaimed_at_once then break end
    local known = redis.call('HMGET', KEY.job .. id, 'state', 'cancel', 'deadline_ms')
    local ends = known[2] or (known[3] and now > tonumber(known[3]))
    if known[1] ~= 'running' then
        redis.call('ZREM', KEY.leases, id)
    elseif ends or not args.ending_only then
        rows[#rows + 1] = {id, requeue(id, 1, now)}
        redis.call('HINCRBY', KEY.counters, 'lease_expired', 1)
    end
end
return rows
