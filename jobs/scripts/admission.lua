-- A shared function that decides whether there is room for the input of one more job.
-- room: {bytes, max_bytes, max_owner_bytes, in_redis, elsewhere and owner_elsewhere (bytes on other shards) or nil}

-- Bytes in use and maxmemory; a managed Redis may refuse to tell, and then refuses itself what does not fit
local function memory()
    local info = redis.pcall('INFO', 'memory')
    if type(info) ~= 'string' then return 0, 0 end
    return tonumber(string.match(info, 'used_memory:(%d+)')), tonumber(string.match(info, '\nmaxmemory:(%d+)') or 0)
end

-- Bytes of inputs that other requests are storing now
local function reserved_bytes(now)
    local bytes, rows = 0, redis.call('HGETALL', KEY.reserved)
    for i = 2, #rows, 2 do
        local since, size = string.match(rows[i], '^(%d+) (%d+)$')
        if now - tonumber(since) < LIMIT.reservation_ms then bytes = bytes + tonumber(size) end
    end
    return bytes
end

-- Returns nil where there is room, or {what is full: 'store', 'owner' or 'memory', bytes in use, limit}
local function refusal(room, owner, now)
    local stored = tonumber(redis.call('HGET', KEY.stored_totals, '*') or 0) + (room.elsewhere or 0)
    if stored + room.bytes > room.max_bytes then return {'store', stored, room.max_bytes} end
    if owner then
        local own = tonumber(redis.call('HGET', KEY.stored_totals, owner) or 0) + (room.owner_elsewhere or 0)
        if own + room.bytes > room.max_owner_bytes then return {'owner', own, room.max_owner_bytes} end
    end
    local used, limit = memory()
    if limit == 0 then return nil end
    local needed = used + (room.in_redis and room.bytes + reserved_bytes(now) or 0)
    if needed > limit * LIMIT.memory_percent_for_submissions / 100 then return {'memory', used, limit} end
    return nil
end
