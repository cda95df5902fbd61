-- Shared functions for requests that a client may repeat: see jobs/claims.py.
-- claim: {name (a Redis key), digest, ttl_s} or nil

-- Returns what the claim holds, 'digest id', where an earlier request has taken it; nil where it is free.
-- A script that makes a thing asks first, and makes nothing where it is taken.  It is free for the thing itself, `id`:
-- the Redis client repeats a command whose reply was lost.
local function claim_holder(claim, id)
    local known = claim and redis.call('GET', claim.name)
    if not known or known == claim.digest .. ' ' .. id then return nil end
    return known
end

local function take_claim(claim, id)
    if claim then redis.call('SET', claim.name, claim.digest .. ' ' .. id, 'EX', claim.ttl_s) end
end
