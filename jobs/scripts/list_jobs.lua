-- Finds a page of jobs, newest first, by a bounded number of looks.
-- args: owner or nil for the jobs of all, labels (list of {key, value}), state or nil, batch (its id) or nil, since_ms or
--       nil, before ({ms, id of the last job of the page before, or nil for none of that millisecond}) or nil, count (jobs
--       of a page), looks
-- Returns {1 where more may follow, else 0; millisecond and id of the last job looked at; ids}
local indexes, all = {}, args.owner and KEY.jobs_of_owner .. args.owner or KEY.jobs
for _, label in ipairs(args.labels) do indexes[#indexes + 1] = label_index(args.owner, label[1], label[2]) end
-- While jobs of an earlier version are missing in the index of states, each job is asked for its state
if args.state and all_indexed() and redis.call('HEXISTS', KEY.states_check, 'number') == 0 then
    indexes[#indexes + 1] = state_index(args.owner, args.state)
end
if #indexes == 0 then indexes[1] = all end
local sizes = {}
for _, index in ipairs(indexes) do sizes[index] = redis.call('ZCARD', index) end
table.sort(indexes, function(one, other) return sizes[one] < sizes[other] end)

-- Its hash has expired before the sweep, which then does not know its owner
local function forget_of_owner(id)
    redis.call('ZREM', all, id)
    for _, state in ipairs(STATES) do redis.call('ZREM', state_index(args.owner, state), id) end
end

-- Which of the ids all indexes have
local function in_all_indexes(ids)
    local has = {}
    for _, id in ipairs(ids) do has[id] = true end
    for i = 2, #indexes do
        for first = 1, #ids, 200 do
            local some = {unpack(ids, first, math.min(first + 199, #ids))}
            for at, score in ipairs(redis.call('ZMSCORE', indexes[i], unpack(some))) do
                if not score then has[some[at]] = nil end
            end
        end
    end
    return has
end

local gone = {}
local function is_wanted(id)
    local state = state_for_clients(id)
    if not state and args.owner then gone[#gone + 1] = id end
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

local function rows_from(offset, count)
    return redis.call('ZREVRANGEBYSCORE', indexes[1], top, bottom, 'WITHSCORES', 'LIMIT', offset, count)
end

local function ids_of(rows)
    local ids = {}
    for i = 1, #rows, 2 do ids[#ids + 1] = rows[i] end
    return ids
end

local found, looked, offset, last_ms, last_id, more = {}, 0, 0, 0, '', 0
local at_once = math.min(args.count + 2, 200)  -- with a single index, a page needs no more
while true do
    local rows = args.batch and rows_of_batch() or rows_from(offset, at_once)
    local has = #rows > 0 and in_all_indexes(ids_of(rows))
    for i = 1, #rows, 2 do
        local id, ms = rows[i], rows[i + 1]
        if not is_earlier(id, ms) then
            if #found == args.count or looked == args.looks then
                more = 1
                break
            end
            looked, last_ms, last_id = looked + 1, ms, id
            if has[id] and is_wanted(id) then found[#found + 1] = id end
        end
    end
    if more == 1 or args.batch or #rows < 2 * at_once then break end
    offset, at_once = offset + at_once, 200
end
for _, id in ipairs(gone) do forget_of_owner(id) end
return {more, last_ms, last_id, found}
