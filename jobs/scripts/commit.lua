-- Ends jobs.  Only the holder of the lease may end a job, with this lease, and only once; a cancel that came first wins.
-- args: token, iso, jobs (list of {id, state, outcome, keep_s, work_ms, fence, number, result}); number: of the
--       lease, or nil; result is nil, or the key, name and ttl_s of a picture to store; fence names the attempt: a
--       commit whose reply was lost is sent again
-- bytes: the pictures, by id of their job
-- Returns for each job the state that it ended in, now or by the same commit before; '' where the lease was lost
local now, answers = now_ms(), {}
for _, ended in ipairs(args.jobs) do
    local job = KEY.job .. ended.id
    local known = redis.call('HMGET', job, 'lease', 'state', 'lease_number', 'cancel', 'bundle', 'started_ms', 'owner',
        'fence')
    local canceled, bundle, started_ms, owner = known[4], known[5] or '', known[6], known[7]
    local recent_ends = KEY.recent_ends .. bundle
    if ended.fence and known[8] == ended.fence then
        answers[#answers + 1] = known[2]
    elseif not holds(known, args.token, ended.number) then
        answers[#answers + 1] = ''
    else
        local state = canceled and 'canceled' or ended.state
        local as_asked = state == ended.state
        if ended.result and as_asked then
            redis.call('SET', ended.result.key, bytes[ended.id], 'EX', ended.result.ttl_s)
            redis.call('HSET', job, 'picture', ended.result.key)
            add_blob(ended.id, ended.result.name, #bytes[ended.id], owner or nil)
        end
        finish(ended.id, state, as_asked and ended.outcome or nil, now, ended.keep_s)
        if ended.fence then redis.call('HSET', job, 'fence', ended.fence) end
        local work_ms = ended.work_ms or 0
        if state == 'succeeded' then note_cost(ended.id, bundle, ended.outcome, work_ms, now) end
        redis.call('LPUSH', recent_ends, string.format('%.0f %s %.0f', now, started_ms or now, work_ms))
        redis.call('LTRIM', recent_ends, 0, LIMIT.max_recent_ends - 1)
        answers[#answers + 1] = state
    end
end
return answers
