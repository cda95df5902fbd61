-- Ask for a job's end: at once where it is queued, at its worker's next look where it runs.
-- ARGV: 1 id, 2 iso time, 3 events kept, 4 keep s
-- Returns the state before, or '' for an unknown job
local id = ARGV[1]
local job = 'undegrade:job:' .. id
local known = redis.call('HMGET', job, 'lease', 'state', 'queue', 'bundle', 'cancel', 'deaths')
if not known[2] then return '' end
if known[2] == 'queued' then
    local time = redis.call('TIME')
    redis.call('LREM', 'rq:queue:' .. known[3], 0, id)
    finish(id, known, 'canceled', nil, time[1] * 1000 + math.floor(time[2] / 1000), ARGV[2], ARGV[3], ARGV[4])
elseif known[2] == 'running' then
    redis.call('HSET', job, 'cancel', '1')
end
return known[2]
