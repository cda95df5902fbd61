-- Shared functions that write what is to be sent at a job's end: its deliveries, and the outbox of those that are due.
-- A delivery is the PUT of the result, or a webhook.  Deliveries are grouped by the owner and the origin of their URL.

local function delivery_key(id, number) return KEY.delivery .. id .. ':' .. number end

-- The outbox has each group by the millisecond at which its first delivery is due
local function refresh_group(group)
    local first = redis.call('ZRANGE', KEY.outbox_of_group .. group, 0, 0, 'WITHSCORES')
    if first[1] then
        redis.call('ZADD', KEY.outbox, first[2], group)
    else
        redis.call('ZREM', KEY.outbox, group)
    end
end

local function put_into_outbox(id, number, group, due)
    redis.call('ZADD', KEY.outbox_of_group .. group, due, id .. ':' .. number)
    refresh_group(group)
    redis.call('LPUSH', KEY.outbox_bell, 1)
    redis.call('LTRIM', KEY.outbox_bell, 0, LIMIT.max_arrivals - 1)
end

local function take_from_outbox(id, number, group)
    redis.call('ZREM', KEY.outbox_of_group .. group, id .. ':' .. number)
    redis.call('ZREM', KEY.deliveries_waiting, id .. ':' .. number)
    refresh_group(group)
end

local function add_delivery(id, number, fields, ttl_s, now)
    local key = delivery_key(id, number)
    redis.call('HSET', key, 'kind', fields.kind, 'event', fields.event, 'group', fields.group, 'state', fields.state,
        'tries', 0, 'created_ms', now, 'due_ms', now)
    redis.call('EXPIRE', key, ttl_s)
    redis.call('ZADD', KEY.deliveries_waiting, now, id .. ':' .. number)
    if fields.state == 'waiting' then put_into_outbox(id, number, fields.group, now) end
end

-- The deliveries of a job that has ended.  hooks: JSON of jobs/hooks.py, or nil
local function add_deliveries(id, state, event, hooks, ttl_s, now)
    if not hooks then return end
    redis.call('ZREM', KEY.hooked, id)
    local wanted, number = cjson.decode(hooks), 0
    if wanted.result_group and state == 'succeeded' then
        number = number + 1
        add_delivery(id, number, {kind = 'result', event = event, group = wanted.result_group, state = 'waiting'},
            ttl_s, now)
    end
    for _, name in ipairs(wanted.events) do
        if name == event then
            -- The webhook tells what became of the result's delivery, so it is sent after it
            local first = number == 0 and 'waiting' or 'held'
            number = number + 1
            add_delivery(id, number, {kind = 'webhook', event = event, group = wanted.webhook_group, state = first},
                ttl_s, now)
            break
        end
    end
end

local function drop_deliveries(id)
    redis.call('ZREM', KEY.hooked, id)
    for number = 1, LIMIT.max_deliveries_per_job do
        local key = delivery_key(id, number)
        local group = redis.call('HGET', key, 'group')
        if not group then break end
        take_from_outbox(id, number, group)
        redis.call('DEL', key, KEY.delivery_attempts .. id .. ':' .. number)
    end
end
