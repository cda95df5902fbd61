-- Reads a bundle's line of jobs at one moment, for the forecast of one job.
-- args: id, queue (of the job), bundle, queues (of the bundle)
-- Returns {now, place in its queue or -1, lengths of the queues, taken jobs, recent ends, paused lanes}; a taken job is
--      {id, number of its queue from 0, enqueued_ms, started_ms or '', progress or ''}
local lengths, taken = {}, {}
for number, queue in ipairs(args.queues) do
    lengths[number] = redis.call('LLEN', KEY.rq_queue .. queue)
    for _, entry in ipairs(redis.call('ZRANGE', KEY.rq_started .. queue, 0, -1)) do
        local id = string.match(entry, '^[^:]+')
        local known = redis.call('HMGET', KEY.job .. id, 'state', 'enqueued_ms', 'started_ms', 'progress')
        if known[1] == 'running' then
            taken[#taken + 1] = {id, number - 1, known[2] or '0', known[3] or '', known[4] or ''}
        end
    end
end
local place = redis.call('LPOS', KEY.rq_queue .. args.queue, args.id)
return {now_ms(), place or -1, lengths, taken, redis.call('LRANGE', KEY.recent_ends .. args.bundle, 0, -1),
    redis.call('HKEYS', KEY.paused)}
