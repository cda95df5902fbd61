-- Ask for a job's end: at once where it is queued, at its worker's next look where it runs.
-- ARGV: 1 id, 2 iso time, 3 events kept, 4 keep s or ''
-- Returns the state before, or '' for an unknown job
local state = redis.call('HGET', 'undegrade:job:' .. ARGV[1], 'state')
if not state then return '' end
if state == 'queued' then
    finish(ARGV[1], 'canceled', nil, now_ms(), ARGV[2], ARGV[3], ARGV[4])
elseif state == 'running' then
    redis.call('HSET', 'undegrade:job:' .. ARGV[1], 'cancel', '1')
end
return state
