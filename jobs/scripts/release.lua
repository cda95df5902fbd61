-- Hand jobs back to the front of their line.
-- ARGV: 1 token, 2 events kept, 3 deaths to add, 4 most deaths, 5 iso time, 6 keep s or '', 7.. ids, newest first
-- Deaths 0: a drain; the attempt is not counted.  Else the jobs killed their engine, or were beside one that did: they
-- run alone from now on, and who dies alone again is the culprit.
-- Returns for each id: 'queued', 'canceled', 'poison' or 'lost'
local now, answers = now_ms(), {}
for i = 7, #ARGV do
    local known = redis.call('HMGET', 'undegrade:job:' .. ARGV[i], 'lease', 'state')
    if known[1] ~= ARGV[1] or known[2] ~= 'running' then
        answers[#answers + 1] = 'lost'
    else
        answers[#answers + 1] = requeue(ARGV[i], tonumber(ARGV[3]), tonumber(ARGV[4]), now, ARGV[5], ARGV[2], ARGV[6])
    end
end
return answers
