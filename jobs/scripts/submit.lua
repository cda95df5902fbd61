-- Adds a job to its queue, with everything that is known about it; refuses it when its bundle has too many queued jobs.
-- args: id, queue, bundle, spec, keep_s, deadline_ms or nil, owner or nil, iso, queues (of the bundle), max_queued,
--       request (JSON of jobs/request_context.py), input (or nil: key, name and ttl_s of an image to store),
--       room (see admission.lua) or nil for no limit, hooks (JSON of jobs/hooks.py) or nil,
--       claim (see claims.lua) or nil, pixels (of the input), quotas ({jobs, pixels}) or nil for none,
--       labels (object) or nil, unstored (true: nothing of the job may stay) or nil, batch (its id) or nil
-- bytes: packed (RQ's data field), input
-- Returns {1 accepted, 0 full or -1 duplicate; jobs of the bundle that were queued before}
--      or {-2; what admission.lua says} or {-3; what over_quota of quotas.lua says} or {-4; what the claim holds}
local id, job, now = args.id, KEY.job .. args.id, now_ms()
local claimed = claim_holder(args.claim, id)
if claimed then return {-4, claimed} end
local queued = 0
for _, queue in ipairs(args.queues) do queued = queued + redis.call('LLEN', KEY.rq_queue .. queue) end
if queued >= args.max_queued then return {0, queued} end
if redis.call('EXISTS', job) == 1 then return {-1, queued} end
local subject = args.owner or KEY.anybody
if args.quotas then
    local over = over_quota(args.quotas, subject, args.pixels, now)
    if over then return {-3, unpack(over)} end
end
if redis.call('HDEL', KEY.reserved, id) == 0 and args.room then
    local refused = refusal(args.room, args.owner, now)
    if refused then return {-2, unpack(refused)} end
end
redis.call('HSET', job, 'spec', args.spec, 'state', 'queued', 'queue', args.queue, 'bundle', args.bundle,
    'enqueued_ms', now, 'keep_s', args.keep_s, 'request', args.request)
if args.input then
    redis.call('SET', args.input.key, bytes.input, 'EX', args.input.ttl_s)
    redis.call('HSET', job, 'carried', args.input.key)
    add_blob(id, args.input.name, #bytes.input, args.owner)
end
if args.hooks then
    redis.call('HSET', job, 'hooks', args.hooks)
    redis.call('ZADD', KEY.hooked, now, id)
end
if args.deadline_ms then
    redis.call('HSET', job, 'deadline_ms', args.deadline_ms)
    redis.call('ZADD', KEY.deadlines, args.deadline_ms, id)
end
redis.call('HSET', KEY.rq_job .. id, 'created_at', args.iso, 'enqueued_at', args.iso, 'data', bytes.packed,
    'origin', args.queue, 'description', 'undegrade.run', 'status', 'queued', 'timeout', -1, 'retries_left', 1,
    'success_callback_name', '', 'failure_callback_name', '', 'stopped_callback_name', '', 'started_at', '',
    'ended_at', '', 'last_heartbeat', '', 'worker_name', '', 'group_id', '')
redis.call('SADD', KEY.rq_queues, KEY.rq_queue .. args.queue)
redis.call('ZADD', KEY.jobs, now, id)
if args.owner then
    redis.call('HSET', job, 'owner', args.owner)
    redis.call('ZADD', KEY.jobs_of_owner .. args.owner, now, id)
end
enter_state(id, args.owner, 'queued')
join_line(args.queue, id)
if args.unstored then redis.call('HSET', job, 'unstored', '1') end
redis.call('ZADD', KEY.expiry, now + (args.unstored and LIMIT.unstored_s or LIMIT.queued_ttl_s) * 1000, id)
count_submission(args.quotas, id, subject, args.pixels, now)
add_event(id, 'queued', '{}')
add_arrival(id, args.bundle)
index_labels(id, args.labels, args.owner, now, args.keep_s)
join_batch(args.batch, id, LIMIT.queued_ttl_s + args.keep_s + LIMIT.expiry_margin_s)
take_claim(args.claim, id)
return {1, queued}
