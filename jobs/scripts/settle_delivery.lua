-- Notes an attempt of a delivery, and what follows: it is delivered, tried again, given up, or its URL is disabled.
-- Only the holder of the lease decides, but a success counts always: the receiver has it.
-- args: token, id, number, state ('delivered', 'waiting', 'failed' or 'disabled'), retry_ms or nil, outcome (for the
--       counter) or nil, attempt (JSON) or nil, disable (field of the disabled URLs, and its JSON) or nil,
--       enable (the same field) or nil
-- Returns 1, or 0 where somebody else holds it or it is gone
local key, id, number, now = delivery_key(args.id, args.number), args.id, args.number, now_ms()
local known = redis.call('HMGET', key, 'lease', 'state', 'group', 'kind')
if not known[2] then return 0 end
local ttl_ms = redis.call('PTTL', key)
if args.attempt then
    local attempts = KEY.delivery_attempts .. id .. ':' .. number
    redis.call('RPUSH', attempts, args.attempt)
    redis.call('LTRIM', attempts, -LIMIT.max_attempts_kept, -1)
    if ttl_ms > 0 then redis.call('PEXPIRE', attempts, ttl_ms) end
    redis.call('HINCRBY', key, 'tries', 1)
end
if args.outcome then redis.call('HINCRBY', KEY.counters, 'webhook:' .. args.outcome, 1) end
if args.disable then
    redis.call('HSET', KEY.disabled_webhooks, args.disable.field, args.disable.value)
end
if args.enable then redis.call('HDEL', KEY.disabled_webhooks, args.enable) end
if known[2] ~= 'waiting' or (known[1] ~= args.token and args.state ~= 'delivered') then return 0 end
redis.call('HSET', key, 'state', args.state)
redis.call('HDEL', key, 'lease')
if args.state == 'waiting' then
    redis.call('HSET', key, 'due_ms', now + args.retry_ms)
    put_into_outbox(id, number, known[3], now + args.retry_ms)
    return 1
end
redis.call('HDEL', key, 'due_ms', 'again')
take_from_outbox(id, number, known[3])
if known[4] == 'result' then  -- the webhook that waited for it goes now
    local next_key = delivery_key(id, number + 1)
    local held = redis.call('HMGET', next_key, 'state', 'group')
    if held[1] == 'held' then
        redis.call('HSET', next_key, 'state', 'waiting', 'due_ms', now)
        put_into_outbox(id, number + 1, held[2], now)
    end
end
return 1
