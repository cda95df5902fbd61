-- Sends a delivery once more, now, with all its tries.
-- args: id, number
-- Returns 'waiting'; 'held' where it waits for the delivery of the result; or '' where there is none
local key, now = delivery_key(args.id, args.number), now_ms()
local known = redis.call('HMGET', key, 'state', 'group', 'lease')
if not known[1] then return '' end
if known[1] == 'held' then return 'held' end
if known[3] then return 'waiting' end  -- it is being sent at this moment
redis.call('HSET', key, 'state', 'waiting', 'tries', 0, 'due_ms', now, 'again', 1)
redis.call('ZADD', KEY.deliveries_waiting, now, args.id .. ':' .. args.number)
put_into_outbox(args.id, args.number, known[2], now)
return 'waiting'
