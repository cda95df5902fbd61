-- Reads a batch and the states of its jobs at one moment.
-- args: id
-- Returns {} for an unknown batch, else {now, created_ms, owner or '', rows of {item (JSON), state, started_ms, ended_ms,
--      outcome of a job that did not succeed}}; texts are '' where they are unknown, the state also where the job is gone
local known = redis.call('HMGET', KEY.batch .. args.id, 'created_ms', 'owner')
if not known[1] then return {} end
local rows = {}
for _, item in ipairs(redis.call('LRANGE', KEY.batch_items .. args.id, 0, -1)) do
    local id = cjson.decode(item).job
    local job = type(id) == 'string'
        and redis.call('HMGET', KEY.job .. id, 'state', 'started_ms', 'ended_ms') or {false, false, false}
    local outcome = ''
    if job[3] and job[1] ~= 'succeeded' then outcome = redis.call('HGET', KEY.job .. id, 'outcome') or '' end
    rows[#rows + 1] = {item, job[1] or '', job[2] or '', job[3] or '', outcome}
end
return {now_ms(), known[1], known[2] or '', rows}
