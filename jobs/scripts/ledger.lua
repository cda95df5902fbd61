-- Shared functions that count the bytes which each job, and each owner of jobs, has in the store.

local function add_stored(id, difference, owner)
    local known = redis.call('HGET', KEY.stored, id)
    local bytes, of = 0, owner or ''
    if known then
        local digits, rest = string.match(known, '^(%d+) (.*)$')
        bytes, of = tonumber(digits), rest
    end
    difference = math.max(difference, -bytes)
    if difference == 0 then return end
    if bytes + difference > 0 then
        redis.call('HSET', KEY.stored, id, string.format('%.0f %s', bytes + difference, of))
    else
        redis.call('HDEL', KEY.stored, id)
    end
    for _, field in ipairs(of == '' and {'*'} or {'*', of}) do
        local left = redis.call('HINCRBY', KEY.stored_totals, field, string.format('%.0f', difference))
        if left <= 0 then redis.call('HDEL', KEY.stored_totals, field) end
    end
end

local function add_blob(id, name, bytes, owner)
    local before = tonumber(redis.call('HGET', KEY.blobs_of_job .. id, name) or 0)
    redis.call('HSET', KEY.blobs_of_job .. id, name, bytes)
    add_stored(id, bytes - before, owner)
end

local function remove_blob_entry(id, name)
    local bytes = redis.call('HGET', KEY.blobs_of_job .. id, name)
    if not bytes then return end
    redis.call('HDEL', KEY.blobs_of_job .. id, name)
    add_stored(id, -tonumber(bytes))
end

-- Deletes a blob in Redis at once; in an object store, the next sweep deletes it
local function drop_blob(id, name)
    remove_blob_entry(id, name)
    redis.call('UNLINK', KEY.blob .. name)
    if redis.call('ZSCORE', KEY.blobs, name) then redis.call('ZADD', KEY.blobs, 0, name) end
end

-- Lets a blob live as long as its job
local function keep_blob(name, expires_s, lives_s)
    redis.call('EXPIRE', KEY.blob .. name, lives_s)
    if redis.call('ZSCORE', KEY.blobs, name) then redis.call('ZADD', KEY.blobs, expires_s, name) end
end

-- The pictures that workers stored: all but the input
local function drop_pictures(id)
    for _, name in ipairs(redis.call('HKEYS', KEY.blobs_of_job .. id)) do
        if name ~= id .. '/input' then drop_blob(id, name) end
    end
end

local function drop_all_blobs(id)
    drop_pictures(id)
    drop_blob(id, id .. '/input')
end

-- Whether a job still takes pictures.  A worker that has not yet learned that its job has ended or is deleted must not
-- bring pictures back.  The input is stored before its job is there, and what a job stores between the request to cancel
-- it and its end is dropped at its end.
local function takes_blobs(id, name)
    if name == id .. '/input' then return true end
    local state = redis.call('HGET', KEY.job .. id, 'state')
    return state == 'queued' or state == 'running'
end
