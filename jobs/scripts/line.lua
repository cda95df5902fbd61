-- Reads a bundle's line of jobs at one moment, for the forecast of one job.
-- args: id, queue (of the job), bundle, queues (of the bundle)
-- Returns {now, jobs of its queue that workers take before it or -1, lengths of the queues, taken jobs, recent ends, paused lanes,
--      for each queue the millisecond at which its oldest job was enqueued, or -1}; a taken job is
--      {id, number of its queue from 0, enqueued_ms, started_ms or '', progress or ''}
local lengths, oldest, taken = {}, {}, {}
for number, queue in ipairs(args.queues) do
    lengths[number] = redis.call('LLEN', KEY.rq_queue .. queue)
    oldest[number] = lengths[number] > 0 and oldest_in_line(queue) or -1
    for _, entry in ipairs(redis.call('ZRANGE', KEY.rq_started .. queue, 0, -1)) do
        local id = string.match(entry, '^[^:]+')
        local known = redis.call('HMGET', KEY.job .. id, 'state', 'enqueued_ms', 'started_ms', 'progress')
        if known[1] == 'running' then
            taken[#taken + 1] = {id, number - 1, known[2] or '0', known[3] or '', known[4] or ''}
        end
    end
end
local place = args.id ~= '' and place_in_line(args.queue, args.id)
return {now_ms(), place or -1, lengths, taken, redis.call('LRANGE', KEY.recent_ends .. args.bundle, 0, -1),
    redis.call('HKEYS', KEY.paused), oldest}
