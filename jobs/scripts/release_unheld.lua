-- Puts back the jobs that were leased to a worker in a reply that it never got: nobody works on them.
-- args: token, iso, held (ids that the worker knows of), numbers (see renew.lua)
-- Returns the ids
local now, held, ids = now_ms(), {}, {}
for _, id in ipairs(args.held) do held[id] = true end
for _, id in ipairs(redis.call('ZRANGE', KEY.leases, 0, -1)) do
    local known = redis.call('HMGET', KEY.job .. id, 'lease', 'state', 'lease_number')
    local is_known = held[id] and holds(known, args.token, args.numbers[id])
    if holds(known, args.token, nil) and not is_known then
        requeue(id, 0, now)
        ids[#ids + 1] = id
    end
end
return ids
