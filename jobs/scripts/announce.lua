-- Notes the bundles of a worker that is alive.
-- args: entries (worker/bundle), infos (JSON of each)
for i, entry in ipairs(args.entries) do
    redis.call('SADD', KEY.workers, entry)
    redis.call('SET', KEY.worker .. entry, args.infos[i], 'EX', LIMIT.worker_ttl_s)
end
return 1
