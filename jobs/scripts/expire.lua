-- Ends queued jobs whose deadline has passed.
-- args: iso
-- Returns their ids
local now, ended = now_ms(), {}
local due = redis.call('ZRANGEBYSCORE', KEY.deadlines, '-inf', now, 'LIMIT', 0, LIMIT.max_expired_at_once)
for _, id in ipairs(due) do
    if redis.call('HGET', KEY.job .. id, 'state') == 'queued' then
        expire(id, now, 'was queued')
        ended[#ended + 1] = id
    else
        redis.call('ZREM', KEY.deadlines, id)
    end
end
return ended
