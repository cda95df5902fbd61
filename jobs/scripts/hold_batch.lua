-- Holds a batch open while its request is read, if it has jobs.
-- args: id
if redis.call('ZSCORE', KEY.open_batches, args.id) then hold_open(args.id) end
return 1
