"""What the service and the workers agree on: job specs, states, Redis keys, the queue, the blob store.

Never torch, never FastAPI.  Reading order: spec, record, keys, scripts/, queue, rq_jobs, store, api_keys.
"""
