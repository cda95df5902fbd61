-- Reads a job, and the picture that was stored with its commit, in one answer.
-- args: id
-- Returns {its fields, the picture or ''}
local job = KEY.job .. args.id
local picture = redis.call('HGET', job, 'picture')
return {redis.call('HGETALL', job), picture and redis.call('GET', picture) or ''}
