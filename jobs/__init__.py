"""Everything on which the service and the workers agree: job specs, records, Redis keys, the queue, the blob store.

Reading order: spec, record, redis_keys, scripts/ (prelude and finish_and_requeue first), lua_scripts, lease, queue,
worker_registry, counters, rq_format, store, api_keys.  Nothing here imports torch or FastAPI.
"""
