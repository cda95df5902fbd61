-- Puts back the jobs that were leased to a worker in a reply that it never got: nobody works on them.
-- args: token, iso, held (ids that the worker knows of)
-- Returns the ids
local now, held, ids = now_ms(), {}, {}
for _, id in ipairs(args.held) do held[id] = true end
for _, id in ipairs(redis.call('ZRANGE', KEY.leases, 0, -1)) do
    local known = redis.call('HMGET', KEY.job .. id, 'lease', 'state')
    if not held[id] and known[1] == args.token and known[2] == 'running' then
        requeue(id, 0, now)
        ids[#ids + 1] = id
    end
end
return ids
