-- Puts back the jobs that were leased to a worker in a reply that it never got: nobody works on them.
-- args: token, iso, held (ids that the worker knows of), numbers (see renew.lua)
-- Returns the ids
local now, held, ids, of_worker = now_ms(), {}, {}, KEY.leases_of .. args.token
for _, id in ipairs(args.held) do held[id] = true end
for _, id in ipairs(redis.call('SMEMBERS', of_worker)) do
    local known = redis.call('HMGET', KEY.job .. id, 'lease', 'state', 'lease_number')
    local is_known = held[id] and holds(known, args.token, args.numbers[id])
    if not holds(known, args.token, nil) then
        redis.call('SREM', of_worker, id)  -- an earlier version has ended its lease
    elseif not is_known then
        requeue(id, 0, now)
        ids[#ids + 1] = id
    end
end
return ids
