-- Finds a page of batches, newest first, by a bounded number of looks.
-- args: owner or nil for the batches of all, since_ms or nil, before ({ms, id of the last batch of the page before, or nil
--       for none of that millisecond}) or nil, count (batches of a page), looks
-- Returns {1 where more may follow, else 0; millisecond and id of the last batch looked at; ids}
local index = batch_index(args.owner)
local top, bottom, is_earlier = page_range(args.before, args.since_ms)
local found, gone, looked, offset, last_ms, last_id, more = {}, {}, 0, 0, 0, '', 0
while true do
    local rows = redis.call('ZREVRANGEBYSCORE', index, top, bottom, 'WITHSCORES', 'LIMIT', offset, 200)
    for i = 1, #rows, 2 do
        local id, ms = rows[i], rows[i + 1]
        if not is_earlier(id, ms) then
            if #found == args.count or looked == args.looks then
                more = 1
                break
            end
            looked, last_ms, last_id = looked + 1, ms, id
            if redis.call('EXISTS', KEY.batch .. id) == 1 then
                found[#found + 1] = id
            else  -- it has expired
                gone[#gone + 1] = id
            end
        end
    end
    if more == 1 or #rows < 400 then break end
    offset = offset + 200
end
for _, id in ipairs(gone) do redis.call('ZREM', index, id) end
return {more, last_ms, last_id, found}
