"""Everything on which the service and the workers agree: job specs, records, Redis keys, the queue, the blob store.

Reading order: spec, record, redis_keys, scripts/ (prelude and finish_and_requeue first), lua_scripts, lease, queue,
worker_registry, counters, rq_format, store, api_keys.  For those who watch: request_context, tracing/, job_log.
Nothing here imports torch or FastAPI.
"""
