-- The start of every script: the named arguments, and the time.
-- KEY and LIMIT have the constants of jobs/redis_keys.py, by their names in lower case; jobs/lua_scripts.py puts the
-- values in before Redis sees a script.
-- KEYS is empty: key names are computed from ids, and RQ cannot run on a cluster either.
-- ARGV: a JSON object, then pairs of a name and binary data
local args, bytes = cjson.decode(ARGV[1]), {}
for i = 2, #ARGV, 2 do bytes[ARGV[i]] = ARGV[i + 1] end

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a lease is still the one that its worker means.  known: {lease, state, lease_number} of the job; number: of the
-- lease, or nil for any lease of the token.  A worker may lease a job again whose earlier lease has ended unnoticed
local function holds(known, token, number)
    return known[1] == token and known[2] == 'running' and (not number or known[3] == string.format('%.0f', number))
end

local function add_event(id, kind, data)
    redis.call('XADD', KEY.events .. id, 'MAXLEN', '~', LIMIT.max_events_per_job, '*', 'type', kind, 'data', data)
end

-- Tells those who wait for a job that it has changed, or that it is over; API processes of earlier versions hear of all jobs
local function tell_change(id, over)
    redis.call('PUBLISH', (over and KEY.end_of_job or KEY.changes_of_job) .. id, '')
    redis.call('PUBLISH', KEY.changes, over and id .. ' over' or id)
end

-- Wakes an idle worker
local function add_arrival(id, bundle)
    redis.call('LPUSH', KEY.arrivals .. bundle, id)
    redis.call('LTRIM', KEY.arrivals .. bundle, 0, LIMIT.max_arrivals - 1)
end
