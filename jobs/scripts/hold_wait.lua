-- Takes one of the waits of a caller.  A wait that nobody renews ends with its lease: its API process has died.
-- args: subject, wait (its id), quota
-- Returns {1 taken or 0 refused, open waits before}
local key, now = KEY.quota_waits .. args.subject, now_ms()
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
local open = redis.call('ZCARD', key)
if open >= args.quota then return {0, open} end
redis.call('ZADD', key, now + LIMIT.wait_lease_ms, args.wait)
redis.call('PEXPIRE', key, LIMIT.wait_lease_ms)
return {1, open}
