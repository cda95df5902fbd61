-- Shared functions for lists that are read page by page, newest first.

-- before: {ms, id of the last entry of the page before, or nil for none of that millisecond} or nil; since_ms or nil
-- Returns the highest and the lowest score for ZREVRANGEBYSCORE, and whether an entry in between is on an earlier page
local function page_range(before, since_ms)
    local top, after = '+inf', nil
    if before then
        after = before[2]
        top = (after and '' or '(') .. string.format('%.0f', before[1])
    end
    local function is_earlier(id, ms)
        return after and tonumber(ms) == before[1] and id >= after
    end
    return top, since_ms and string.format('%.0f', since_ms) or '-inf', is_earlier
end
