-- Renews leases, and tells which jobs are to be canceled.
-- args: token, iso, ids, numbers (id -> number of its lease; a job without one is not compared)
-- Returns for each id: 'ok', 'cancel' or 'lost'
local now, answers = now_ms(), {}
for _, id in ipairs(args.ids) do
    local known = redis.call('HMGET', KEY.job .. id, 'lease', 'state', 'lease_number', 'cancel')
    if not holds(known, args.token, args.numbers[id]) then
        answers[#answers + 1] = 'lost'
    else
        redis.call('ZADD', KEY.leases, 'XX', now + LIMIT.lease_ms, id)
        redis.call('HSET', KEY.rq_job .. id, 'last_heartbeat', args.iso)
        answers[#answers + 1] = known[4] and 'cancel' or 'ok'
    end
end
return answers
