-- Finds a page of jobs, newest first, by a bounded number of looks.
-- args: owner or nil for the jobs of all, labels (list of {key, value}), state or nil, batch (its id) or nil, since_ms or
--       nil, before ({ms, id of the last job of the page before, or nil for none of that millisecond}) or nil, count (jobs
--       of a page), looks
-- Returns {1 where more may follow, else 0; millisecond and id of the last job looked at; ids}
local indexes = {}
for _, label in ipairs(args.labels) do indexes[#indexes + 1] = label_index(args.owner, label[1], label[2]) end
if #indexes == 0 then indexes[1] = args.owner and KEY.jobs_of_owner .. args.owner or KEY.jobs end

local function state_of(id)
    local known = redis.call('HMGET', KEY.job .. id, 'state', 'started_ms')
    -- A job that a worker holds, and has not begun, is queued for its client
    if known[1] == 'running' and not known[2] then return 'queued' end
    return known[1]
end

local function matches(id)
    for i = 2, #indexes do
        if not redis.call('ZSCORE', indexes[i], id) then return false end
    end
    local state = state_of(id)
    return state and (not args.state or state == args.state)
end

local top, bottom, is_earlier = page_range(args.before, args.since_ms)

-- The jobs of a batch, which are few: by their set, so that an old batch costs no looks at what came after it
local function rows_of_batch()
    local all = redis.call('ZINTER', 2, indexes[1], KEY.batch_jobs .. args.batch, 'WEIGHTS', 1, 0, 'WITHSCORES')
    local rows, first = {}, args.since_ms or -math.huge
    for i = #all - 1, 1, -2 do
        local ms = tonumber(all[i + 1])
        local is_before = not args.before or ms < args.before[1] or (args.before[2] and ms == args.before[1])
        if is_before and ms >= first then
            rows[#rows + 1] = all[i]
            rows[#rows + 1] = all[i + 1]
        end
    end
    return rows
end

local function rows_from(offset)
    return redis.call('ZREVRANGEBYSCORE', indexes[1], top, bottom, 'WITHSCORES', 'LIMIT', offset, 200)
end

local found, looked, offset, last_ms, last_id = {}, 0, 0, 0, ''
while true do
    local rows = args.batch and rows_of_batch() or rows_from(offset)
    for i = 1, #rows, 2 do
        local id, ms = rows[i], rows[i + 1]
        if not is_earlier(id, ms) then
            if #found == args.count or looked == args.looks then return {1, last_ms, last_id, found} end
            looked, last_ms, last_id = looked + 1, ms, id
            if matches(id) then found[#found + 1] = id end
        end
    end
    if args.batch or #rows < 400 then return {0, last_ms, last_id, found} end
    offset = offset + 200
end
