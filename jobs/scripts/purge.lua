-- Ends queued jobs as canceled, on the word of an operator.  A job that a worker has leased meanwhile goes on.
-- args: iso, jobs (list of {id, spec without the prompt or nil}), cause ({code, detail, hint})
-- Returns the ids of those that have ended
local now, ended = now_ms(), {}
for _, purged in ipairs(args.jobs) do
    local job = KEY.job .. purged.id
    if redis.call('HGET', job, 'state') == 'queued' then
        if purged.spec then redis.call('HSET', job, 'spec', purged.spec) end
        finish(purged.id, 'canceled', nil, now, nil, args.cause)
        ended[#ended + 1] = purged.id
    end
end
return ended
