-- Publishes a job's progress; only the holder of the lease may.
-- args: token, id, progress, outcome (so far) or nil, event or nil: {type, data}
-- Returns 1, or 0 where the lease is lost
local job = KEY.job .. args.id
local known = redis.call('HMGET', job, 'lease', 'state')
if known[1] ~= args.token or known[2] ~= 'running' then return 0 end
redis.call('HSET', job, 'progress', args.progress)
if args.outcome then redis.call('HSET', job, 'outcome', args.outcome) end
if args.event then
    add_event(args.id, args.event.type, args.event.data)
    redis.call('PUBLISH', KEY.changes, args.id)
end
return 1
