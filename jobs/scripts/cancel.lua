-- Cancels a job: at once where it is queued; where it runs, its worker learns of it with the next renewal.
-- The prompt goes at once: `spec` is the job's spec without it.
-- args: id, iso, keep_s or nil, spec or nil
-- Returns the state before, or '' for an unknown job
local job = KEY.job .. args.id
local state = redis.call('HGET', job, 'state')
if not state then return '' end
if args.spec and (state == 'queued' or state == 'running') then redis.call('HSET', job, 'spec', args.spec) end
if state == 'queued' then
    finish(args.id, 'canceled', nil, now_ms(), args.keep_s)
elseif state == 'running' then
    redis.call('HSET', job, 'cancel', '1')
end
return state
