-- End a job.  Only the holder of the lease may, and only once; a cancel that came first wins.
-- ARGV: 1 token, 2 iso time, 3 events kept, 4 drain kept, then for each job: id, state, outcome, keep s, megapixels,
--       key of a blob to keep or '', its bytes, its ttl s
-- Returns for each job the state that it ended in, or '' where the lease was lost
local now, answers = now_ms(), {}
for i = 5, #ARGV, 8 do
    local id, state = ARGV[i], ARGV[i + 1]
    local known = redis.call('HMGET', 'undegrade:job:' .. id, 'lease', 'state', 'cancel', 'bundle')
    if known[1] ~= ARGV[1] or known[2] ~= 'running' then
        answers[#answers + 1] = ''
    else
        if known[3] then state = 'canceled' end
        if ARGV[i + 5] ~= '' and state == ARGV[i + 1] then
            redis.call('SET', ARGV[i + 5], ARGV[i + 6], 'EX', ARGV[i + 7])
            redis.call('HSET', 'undegrade:job:' .. id, 'picture', ARGV[i + 5])
        end
        finish(id, state, state == ARGV[i + 1] and ARGV[i + 2] or nil, now, ARGV[2], ARGV[3], ARGV[i + 3])
        redis.call('LPUSH', 'undegrade:drain:' .. known[4], now .. ' ' .. ARGV[i + 4])
        redis.call('LTRIM', 'undegrade:drain:' .. known[4], 0, ARGV[4] - 1)
        answers[#answers + 1] = state
    end
end
return answers
