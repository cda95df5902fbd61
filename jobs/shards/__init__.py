"""Several Redis servers, each with a part of the jobs (docs/shards.md).

An id names its shard (`numbers`), so whoever has an id needs no table.  `urls` reads the setting, `shard` watches one
server, and `shards` has them all.  `queue` has the interface of `jobs.queue` over all of them.  No script ever touches
two servers.
"""
