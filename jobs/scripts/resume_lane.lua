-- Lets workers take jobs of a paused lane again, and wakes idle ones.
-- args: lane, queues (list of {name, bundle})
-- Returns 1, or 0 where the lane was not paused
if redis.call('HDEL', KEY.paused, args.lane) == 0 then return 0 end
for _, queue in ipairs(args.queues) do
    local waiting = redis.call('LRANGE', KEY.rq_queue .. queue.name, 0, LIMIT.max_arrivals - 1)
    for _, id in ipairs(waiting) do add_arrival(id, queue.bundle) end
end
return 1
