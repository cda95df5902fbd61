-- A shared function that notes what a job has cost, for estimates of others (jobs/cost_model.py).

-- outcome: JSON.  A job of which nothing may stay is left out
local function note_cost(id, bundle, outcome, work_ms, now)
    local known = redis.call('HMGET', KEY.job .. id, 'spec', 'started_ms', 'unstored')
    if work_ms <= 0 or not known[1] or known[3] then return end
    local spec, ended = cjson.decode(known[1]), cjson.decode(outcome)
    if type(spec.source) ~= 'table' then return end
    local passes = type(ended.passes) == 'table' and #ended.passes or 0
    local steps = type(ended.steps) == 'number' and ended.steps or 0
    redis.call('LPUSH', KEY.costs .. bundle, string.format('%s %.0f %d %d %.0f %.0f', spec.kind,
        spec.source.width_px * spec.source.height_px, passes, steps, work_ms, now - (tonumber(known[2]) or now)))
    redis.call('LTRIM', KEY.costs .. bundle, 0, LIMIT.max_costs - 1)
end
