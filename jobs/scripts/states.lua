-- Shared functions for the index of jobs by state: for each state that clients see, the jobs by the millisecond of their
-- arrival, once for their owner and once for all owners together.
-- A process of an earlier version changes states without it, so a reader compares what it finds with the job itself, and
-- index_states.lua finds what is missing.

local STATES = {'queued', 'running', 'succeeded', 'failed', 'canceled', 'expired'}

local function state_index(owner, state) return KEY.jobs_in_state .. (owner or '*') .. ':' .. state end

local function each_state_index(owner, state, act)
    act(state_index(nil, state))
    if owner then act(state_index(owner, state)) end
end

-- A job that a worker holds, and has not begun, is queued for its client.  Returns the state, and the owner or nil
local function state_for_clients(id)
    local known = redis.call('HMGET', KEY.job .. id, 'state', 'started_ms', 'owner')
    if known[1] == 'running' and not known[2] then known[1] = 'queued' end
    return known[1] or nil, known[3] or nil
end

local function leave_states(id, owner, states)
    for _, state in ipairs(states) do
        each_state_index(owner, state, function(index) redis.call('ZREM', index, id) end)
    end
end

local function enter_state(id, owner, state)
    local arrival = redis.call('ZSCORE', KEY.jobs, id)
    if not arrival then return end
    each_state_index(owner, state, function(index) redis.call('ZADD', index, arrival, id) end)
end

-- For a job that goes on: before its end, it is in one of two states
local BEFORE = {queued = {'running'}, running = {'queued'}}
local function change_state(id, owner, state)
    leave_states(id, owner, BEFORE[state] or {'queued', 'running'})
    enter_state(id, owner, state)
end

-- Puts a job right that is in the index of another state, or in none
local function mend_state(id)
    local state, owner = state_for_clients(id)
    if not state or redis.call('ZSCORE', state_index(nil, state), id) then return end
    leave_states(id, owner, STATES)
    enter_state(id, owner, state)
end

-- Whether the indexes have as many jobs as there are.  A process of an earlier version may have added or forgotten some
local function all_indexed()
    local count = redis.call('ZCARD', KEY.jobs)
    for _, state in ipairs(STATES) do count = count - redis.call('ZCARD', state_index(nil, state)) end
    return count == 0
end
