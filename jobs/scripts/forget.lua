-- Removes every trace of jobs, their pictures too.
-- args: ids.  Returns how many of them there were
local count, queues = 0, redis.call('SMEMBERS', KEY.rq_queues)
for _, id in ipairs(args.ids) do
    local known = redis.call('HMGET', KEY.job .. id, 'state', 'owner', 'lease', 'bundle', 'queue')
    local state, owner, lease = known[1], known[2], known[3]
    if state then count = count + 1 end
    unindex_labels(id)
    leave_batch(id)
    if known[4] then redis.call('LREM', KEY.arrivals .. known[4], 0, id) end
    if owner then redis.call('ZREM', KEY.jobs_of_owner .. owner, id) end
    redis.call('SREM', KEY.in_line .. (owner or KEY.anybody), id)
    leave_states(id, owner or nil, STATES)
    if lease then redis.call('SREM', KEY.leases_of .. lease, id) end
    if state == 'queued' and known[5] then leave_line(known[5], id) end
    -- All queues, which are few: a job whose hash has expired no longer says which was its own
    for _, key in ipairs(queues) do
        local queue = string.sub(key, #KEY.rq_queue + 1)
        if lease then redis.call('ZREM', KEY.rq_started .. queue, id .. ':' .. lease) end
        for _, registry in ipairs({KEY.rq_finished, KEY.rq_failed, KEY.rq_canceled}) do
            redis.call('ZREM', registry .. queue, id)
        end
    end
    drop_deliveries(id)
    drop_all_blobs(id)
    add_stored(id, -math.huge)  -- also where the list of its blobs has expired
    for _, set in ipairs({KEY.jobs, KEY.expiry, KEY.leases, KEY.deadlines}) do redis.call('ZREM', set, id) end
    if state then tell_change(id, true) end
    redis.call('DEL', KEY.job .. id, KEY.events .. id, KEY.rq_job .. id, KEY.rq_results .. id, KEY.blobs_of_job .. id)
end
return count
