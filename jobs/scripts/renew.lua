-- Renew leases and learn what was asked meanwhile.
-- ARGV: 1 token, 2 lease ms, 3 iso time, 4.. ids
-- Returns for each id: 'ok', 'cancel' or 'lost'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}
for i = 4, #ARGV do
    local known = redis.call('HMGET', 'undegrade:job:' .. ARGV[i], 'lease', 'state', 'cancel')
    if known[1] ~= ARGV[1] or known[2] ~= 'running' then
        answers[#answers + 1] = 'lost'
    else
        redis.call('ZADD', 'undegrade:leases', 'XX', now + ARGV[2], ARGV[i])
        redis.call('HSET', 'rq:job:' .. ARGV[i], 'last_heartbeat', ARGV[3])
        answers[#answers + 1] = known[3] and 'cancel' or 'ok'
    end
end
return answers
