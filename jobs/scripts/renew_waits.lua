-- Renews the leases of open waits.  One that was given back meanwhile stays away.
-- args: waits (list of {subject, wait})
local now = now_ms()
for _, held in ipairs(args.waits) do
    redis.call('ZADD', KEY.quota_waits .. held.subject, 'XX', now + LIMIT.wait_lease_ms, held.wait)
    redis.call('PEXPIRE', KEY.quota_waits .. held.subject, LIMIT.wait_lease_ms)
end
return #args.waits
