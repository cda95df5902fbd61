-- Puts jobs back to the front of their queues.
-- args: token, iso, deaths, ids (newest first), numbers (see renew.lua), failure ({code, detail, hint} of a job that died too often) or nil
-- deaths 0: the worker stops, and the attempt does not count.  deaths 1: the job was in an engine that died.  It may be
-- the culprit or a neighbor, so it runs alone from now on; if the engine dies again, the job is the culprit.
-- Returns for each id: what requeue returns, or 'lost'
local now, answers = now_ms(), {}
for _, id in ipairs(args.ids) do
    local known = redis.call('HMGET', KEY.job .. id, 'lease', 'state', 'lease_number')
    if not holds(known, args.token, args.numbers[id]) then
        answers[#answers + 1] = 'lost'
    else
        answers[#answers + 1] = requeue(id, args.deaths, now, args.failure)
    end
end
return answers
