"""Every Redis key and every time to live, RQ's and ours.

RQ's keys keep RQ's own meaning, so `rq info`, dashboards and exporters tell the truth.
"""

# RQ's
RQ_QUEUES = "rq:queues"
RQ_QUEUE = "rq:queue:"
RQ_JOB = "rq:job:"
RQ_STARTED = "rq:wip:"
RQ_FINISHED = "rq:finished:"
RQ_FAILED = "rq:failed:"
RQ_CANCELED = "rq:canceled:"
RQ_RESULTS = "rq:results:"

# Ours
JOB = "undegrade:job:"
"""+ id: hash of spec, state, times, lease, progress, outcome."""
EVENTS = "undegrade:events:"
"""+ id: stream of {type, data}."""
INDEX = "undegrade:jobs"
"""zset: every job's id by the millisecond of its arrival; + ':' + owner: those of one API key."""
API_KEYS = "undegrade:api-keys"
"""hash: key id -> JSON of jobs.api_keys.ApiKey, without its id."""
LEASES = "undegrade:leases"
"""zset: the ids of running jobs by the millisecond at which their lease ends."""
EXPIRY = "undegrade:expiry"
"""zset: ids by the millisecond at which they are forgotten."""
BELL = "undegrade:bell:"
"""+ bundle: list that an idle worker blocks on."""
DRAIN = "undegrade:drain:"
"""+ bundle: list of 'millisecond megapixels' of the last jobs that ended, newest first."""
COUNTERS = "undegrade:counters"
"""hash: what happened how often, for the metrics."""
WORKER = "undegrade:worker:"
"""+ name/bundle: JSON of what a worker says of itself and of one of its bundles."""
WORKERS = "undegrade:workers"
"""set: name/bundle of workers that were alive lately."""
BLOB = "undegrade:blob:"
"""+ name: a picture, in the embedded mode."""
BLOBS = "undegrade:blobs"
"""zset: names of the pictures in an object store by the second at which they may go."""
WAKE = "undegrade:wake"
"""pub/sub channel: the id of a job that changed."""

LEASE_MS = 15_000
RENEW_S = 5.0
EVENTS_KEPT = 500
DRAIN_KEPT = 64
BELL_KEPT = 32
RQ_STARTED_GRACE_MS = 24 * 3600 * 1000
"""RQ's own cleanup, which `rq info` runs, must never take a job that our leases look after."""
QUEUED_TTL_S = 7 * 24 * 3600
"""A job that nobody takes for a week is forgotten."""
MOST_DEATHS = 2
WORKER_TTL_S = 20
