-- Gives room back: of inputs that became no job (ids), and of those whose process died.
-- args: ids (may be empty)
local now, ids = now_ms(), args.ids
for _, id in ipairs(ids) do redis.call('HDEL', KEY.reserved, id) end
local rows = redis.call('HGETALL', KEY.reserved)
for i = 1, #rows, 2 do
    if now - tonumber(string.match(rows[i + 1], '^%d+')) >= LIMIT.reservation_ms then
        redis.call('HDEL', KEY.reserved, rows[i])
        ids[#ids + 1] = rows[i]
    end
end
for _, id in ipairs(ids) do
    if redis.call('EXISTS', KEY.job .. id) == 0 then drop_all_blobs(id) end
end
return #ids
