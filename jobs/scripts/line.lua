-- Reads a bundle's line of jobs at one moment, for the forecast of one job.
-- args: id, queue (of the job), bundle, queues (of the bundle), newcomer (tenant of a job that might come)
-- Returns {now, jobs of its queue that workers take before it or -1, lengths of the queues, taken jobs, recent ends, paused lanes,
--      for each queue the millisecond at which its oldest job was enqueued, or -1, jobs of the queue that workers would
--      take before one of the newcomer}; a taken job is
--      {id, number of its queue from 0, enqueued_ms, started_ms or '', progress or '', how many it stands for}
local lengths, oldest, taken, seen = {}, {}, {}, false

local function add_taken(id, number, stands_for)
    local known = redis.call('HMGET', KEY.job .. id, 'state', 'enqueued_ms', 'started_ms', 'progress')
    if known[1] ~= 'running' then return end
    taken[#taken + 1] = {id, number - 1, known[2] or '0', known[3] or '', known[4] or '', exact(stands_for)}
    seen = seen or id == args.id
end

-- Of many jobs, those in the middle of LIMIT.max_taken_counted equal parts, in the order of their leases
local function add_all_taken(number, queue)
    local started = KEY.rq_started .. queue
    local count = redis.call('ZCARD', started)
    local parts = math.min(count, LIMIT.max_taken_counted)
    local entries = parts == count and redis.call('ZRANGE', started, 0, -1) or {}
    if parts < count then
        for part = 1, parts do
            local rank = math.floor((part - 0.5) * count / parts)
            entries[part] = redis.call('ZRANGE', started, rank, rank)[1]
        end
    end
    for _, entry in ipairs(entries) do add_taken(string.match(entry, '^[^:]+'), number, count / parts) end
end

for number, queue in ipairs(args.queues) do
    lengths[number] = redis.call('LLEN', KEY.rq_queue .. queue)
    oldest[number] = lengths[number] > 0 and oldest_in_line(queue) or -1
    add_all_taken(number, queue)
end
local place = args.id ~= '' and place_in_line(args.queue, args.id)
if args.id ~= '' and not place and not seen then
    for number, queue in ipairs(args.queues) do
        if queue == args.queue then add_taken(args.id, number, 0) end
    end
end
return {now_ms(), place or -1, lengths, taken, redis.call('LRANGE', KEY.recent_ends .. args.bundle, 0, -1),
    redis.call('HKEYS', KEY.paused), oldest, place_of_newcomer(args.queue, args.newcomer)}
