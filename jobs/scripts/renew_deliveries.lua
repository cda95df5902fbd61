-- Renews the leases of deliveries that a webhook process sends.
-- args: token, deliveries (list of {id, number, group})
local now = now_ms()
for _, sent in ipairs(args.deliveries) do
    if redis.call('HGET', delivery_key(sent.id, sent.number), 'lease') == args.token then
        redis.call('ZADD', KEY.outbox_of_group .. sent.group, 'XX', now + LIMIT.lease_ms, sent.id .. ':' .. sent.number)
        refresh_group(sent.group)
    end
end
return #args.deliveries
