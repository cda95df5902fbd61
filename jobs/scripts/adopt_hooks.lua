-- Writes the deliveries of jobs that an earlier version of undegrade has ended: it knows no outbox.
-- args: ids (of jobs with webhooks that have not been seen to end)
-- Returns how many of them had ended
local EVENT = {succeeded = 'completed', failed = 'failed', canceled = 'canceled', expired = 'expired'}
local now, adopted = now_ms(), 0
for _, id in ipairs(args.ids) do
    local known = redis.call('HMGET', KEY.job .. id, 'state', 'hooks')
    if not known[1] then
        redis.call('ZREM', KEY.hooked, id)
    elseif EVENT[known[1]] then
        local ttl_s = math.max(1, redis.call('TTL', KEY.job .. id))
        add_deliveries(id, known[1], EVENT[known[1]], known[2], ttl_s, now)
        adopted = adopted + 1
    end
end
return adopted
