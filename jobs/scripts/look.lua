-- A job as it stands, and the picture that came with its commit: what whoever waits wants to know, in one answer.
-- ARGV: 1 id
-- Returns {its fields, the picture or ''}
local job = 'undegrade:job:' .. ARGV[1]
local picture = redis.call('HGET', job, 'picture')
return {redis.call('HGETALL', job), picture and redis.call('GET', picture) or ''}
