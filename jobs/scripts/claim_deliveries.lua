-- Leases deliveries that are due to a webhook process.  A group that is at its limit does not stop the others.
-- args: token, count, per_group, slots (group -> how many more it may have; others: per_group),
--       slots_of_owner (owner -> how many more), per_owner
-- Returns rows of {id, number, group, fields of the delivery, fields of its job}
local now, rows = now_ms(), {}

local function claim(member, group)
    local id, number = string.match(member, '^(%x+):(%d+)$')
    local key = id and delivery_key(id, number)
    if not key or redis.call('HGET', key, 'state') ~= 'waiting' or redis.call('EXISTS', KEY.job .. id) == 0 then
        redis.call('ZREM', KEY.outbox_of_group .. group, member)
        redis.call('ZREM', KEY.deliveries_waiting, member)
        return false
    end
    redis.call('HSET', key, 'lease', args.token)
    redis.call('ZADD', KEY.outbox_of_group .. group, now + LIMIT.lease_ms, member)
    rows[#rows + 1] = {id, number, group, redis.call('HGETALL', key), redis.call('HGETALL', KEY.job .. id)}
    return true
end

local owners = args.slots_of_owner
for _, group in ipairs(redis.call('ZRANGEBYSCORE', KEY.outbox, '-inf', now, 'LIMIT', 0, LIMIT.max_groups_at_once)) do
    if #rows >= args.count then break end
    local owner = string.match(group, '^(%S*) ') or ''
    local left = math.min(args.slots[group] or args.per_group, owners[owner] or args.per_owner, args.count - #rows)
    if left > 0 then
        local taken = 0
        local due = redis.call('ZRANGEBYSCORE', KEY.outbox_of_group .. group, '-inf', now, 'LIMIT', 0, left)
        for _, member in ipairs(due) do
            if claim(member, group) then taken = taken + 1 end
        end
        owners[owner] = (owners[owner] or args.per_owner) - taken
        refresh_group(group)
    end
end
return rows
