-- Publishes a job's progress; only the holder of the lease may.  The first report says that the job has started.
-- args: token, id, number (of the lease) or nil, progress, outcome (so far) or nil, event or nil: {type, data}
-- Returns 1, or 0 where the lease is lost
local id, job = args.id, KEY.job .. args.id
local known = redis.call('HMGET', job, 'lease', 'state', 'lease_number', 'started_ms', 'owner')
if not holds(known, args.token, args.number) then return 0 end
redis.call('HSET', job, 'progress', args.progress)
if args.outcome then redis.call('HSET', job, 'outcome', args.outcome) end
if not known[4] then
    redis.call('HSET', job, 'started_ms', now_ms())
    change_state(id, known[5] or nil, 'running')
    add_event(id, 'started', '{}')
end
if args.event then add_event(id, args.event.type, args.event.data) end
if args.event or not known[4] then tell_change(id, false) end
return 1
