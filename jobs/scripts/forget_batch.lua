-- Removes a batch, not its jobs.
-- args: id
drop_batch(args.id)
return 1
