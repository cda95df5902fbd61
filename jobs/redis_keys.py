"""Every Redis key, every time to live and every limit of the queue.  `lua_scripts` gives the scripts the same names.

RQ's keys keep RQ's own meaning, so `rq info`, dashboards and exporters tell the truth.
"""

# RQ's keys
RQ_QUEUES = "rq:queues"
RQ_QUEUE = "rq:queue:"
RQ_JOB = "rq:job:"
RQ_STARTED = "rq:wip:"
RQ_FINISHED = "rq:finished:"
RQ_FAILED = "rq:failed:"
RQ_CANCELED = "rq:canceled:"
RQ_RESULTS = "rq:results:"

# Our keys
JOB = "undegrade:job:"
"""+ id: hash of spec, state, times, lease, progress and outcome."""
EVENTS = "undegrade:events:"
"""+ id: stream of {type, data}."""
JOBS = "undegrade:jobs"
"""Sorted set: the id of each job by the millisecond of its arrival."""
JOBS_OF_OWNER = "undegrade:jobs:"
"""+ owner: the same for the jobs of one API key."""
JOBS_IN_STATE = "undegrade:jobs-in:"
"""+ owner (`*`: all owners together), `:` and a state as clients see it: sorted set, the same for the jobs in it."""
STATES_CHECK = "undegrade:states-check"
"""Hash: where a pass is that compares JOBS_IN_STATE with the jobs, and the difference that no pass can explain."""
LABELED = "undegrade:labeled:"
"""+ owner (`*`: all owners together):key:value: sorted set, the same for the jobs with a label."""
BATCH = "undegrade:batch:"
"""+ id of a batch: hash of owner and created_ms."""
BATCHES = "undegrade:batches"
"""Sorted set: the id of each batch by the millisecond of its creation; + `:` and an owner: those of one API key."""
BATCH_ITEMS = "undegrade:batch-items:"
"""+ id of a batch: list of JSON of jobs.batches.BatchEntry, one for each image in the order of the request."""
BATCH_JOBS = "undegrade:batch-jobs:"
"""+ id of a batch: set of the ids of its jobs that are not forgotten."""
OPEN_BATCHES = "undegrade:open-batches"
"""Sorted set: id of a batch that has jobs and is not made yet, by the millisecond at which its request counts as
broken off."""
WITHDRAWN_BATCH = "undegrade:withdrawn-batch:"
"""+ id: there where the jobs of a batch that was never made are being removed; it cannot be made any more."""
API_KEYS = "undegrade:api-keys"
"""Hash: id of an API key -> JSON of jobs.api_keys.ApiKey without its id."""
IN_LINE = "undegrade:in-line:"
"""+ subject of quotas: set of the ids of its jobs that have not ended."""
QUOTA_REQUESTS = "undegrade:quota:requests:"
"""+ subject of quotas: the microsecond at which its bucket of requests is full again."""
QUOTA_PIXELS = "undegrade:quota:pixels:"
"""+ subject of quotas, `:` and the number of the day: pixels of the images that it has submitted on that day."""
QUOTA_WAITS = "undegrade:quota:waits:"
"""+ subject of quotas: sorted set of its open waits by the millisecond at which their lease ends."""
QUOTA_PENDING = "undegrade:quota:pending:"
"""+ subject of quotas: sorted set of the ids of its jobs that are being submitted on another shard, by the millisecond
after which they do not count."""
SHARD_NUMBER = "undegrade:shard:number"
"""The number of this shard: a server that is named by another number is not used."""
SHARD_DRAINED = "undegrade:shard:drained"
"""JSON of jobs.record.OperatorMark, while an operator keeps new jobs away from this shard."""
SHARD_ROLE = "undegrade:shard:role"
"""'home 3' on the shard that keeps the records of API keys, 'copy 3' on the others; the number counts the homes."""
RECOUNTED = "undegrade:quota:recounted:"
"""+ subject of quotas: there while its jobs in line were recounted lately."""
LINE = "undegrade:line:"
"""+ name of a queue: sorted set of its queued jobs in the order of RQ's list, which cannot be searched quickly."""
LINE_OF_TENANT = "undegrade:line-of-tenant:"
"""+ name of a queue, `:` and a tenant (the owner of jobs, or ANYBODY): sorted set of its queued jobs, first in, first
out."""
TURNS = "undegrade:turns:"
"""+ name of a queue: sorted set of the tenants with queued jobs by the virtual time at which their next job begins."""
FIRSTS = "undegrade:firsts:"
"""+ name of a queue: sorted set of the same tenants by the millisecond at which their first job was enqueued."""
PAST_TURNS = "undegrade:past-turns:"
"""+ name of a queue: the same as TURNS for tenants without queued jobs, while that time is in the future."""
VIRTUAL_TIME = "undegrade:virtual-time:"
"""+ name of a queue: the virtual time at which the job began that was leased last."""
LEASES = "undegrade:leases"
"""Sorted set: ids of running jobs by the millisecond at which their lease ends."""
LEASES_OF = "undegrade:leases-of:"
"""+ token of a worker: set of the ids of the jobs that are leased to it."""
EXPIRY = "undegrade:expiry"
"""Sorted set: ids by the millisecond at which the job is forgotten."""
ARRIVALS = "undegrade:bell:"
"""+ bundle: list on which idle workers block; each new job adds an entry."""
RECENT_ENDS = "undegrade:drain:"
"""+ bundle: list of 'ended_ms started_ms work_ms' of the last jobs that workers ended, newest first."""
COSTS = "undegrade:costs:"
"""+ bundle: list of 'kind pixels passes steps work_ms run_ms' of the last jobs that succeeded, newest first."""
COUNTERS = "undegrade:counters"
"""Hash: the counters of jobs.counters."""
WORKER = "undegrade:worker:"
"""+ worker/bundle: JSON of jobs.record.WorkerInfo."""
WORKERS = "undegrade:workers"
"""Set: worker/bundle of workers that were alive lately."""
DRAINED = "undegrade:drained"
"""Hash: name of a worker, or of a host, that an operator drains -> JSON of jobs.record.OperatorMark."""
PAUSED = "undegrade:paused"
"""Hash: lane that an operator has paused, in every bundle -> JSON of jobs.record.OperatorMark."""
BLOB = "undegrade:blob:"
"""+ name: a picture, where the store is Redis."""
BLOBS = "undegrade:blobs"
"""Sorted set: names of the pictures in an object store by the second at which they may be deleted."""
BLOBS_IN_FLIGHT = "undegrade:blobs-in-flight"
"""Sorted set: names of jobs' pictures that are being written to an object store, by the millisecond of the begin; by a
negative one, those that were deleted meanwhile, and are deleted once more later."""
BLOBS_OF_JOB = "undegrade:blobs:"
"""+ id: hash of the job's blob names -> bytes."""
STORED = "undegrade:stored"
"""Hash: id of a job -> 'bytes owner', all that the store holds of it."""
STORED_TOTALS = "undegrade:stored-totals"
"""Hash: owner (`*`: all owners together) -> bytes in the store."""
RESERVED = "undegrade:reserved"
"""Hash: id -> 'millisecond bytes' of an input that is being stored and has no job yet."""
DEADLINES = "undegrade:deadlines"
"""Sorted set: ids of queued jobs by the millisecond of their deadline."""
UPLOAD = "undegrade:upload:"
"""+ id: JSON of jobs.uploads.UploadRecord, an open upload into an object store."""
CLAIM = "undegrade:claim:"
"""+ hash of an API key's id and a client's Idempotency-Key: 'digest id' of the request and of what it has made."""
HOOKED = "undegrade:hooked"
"""Sorted set: ids of jobs with a webhook or a result URL that have not ended, by the millisecond of their arrival."""
DELIVERY = "undegrade:delivery:"
"""+ id:number: hash of a delivery's kind, event, state, tries, group and lease."""
DELIVERY_ATTEMPTS = "undegrade:delivery-attempts:"
"""+ id:number: list of JSON of jobs.deliveries.Attempt, oldest first."""
DELIVERIES_WAITING = "undegrade:deliveries-waiting"
"""Sorted set: id:number of all deliveries that are not over, by the millisecond of their creation."""
OUTBOX = "undegrade:outbox"
"""Sorted set: groups ('owner origin') by the millisecond at which their first delivery is due."""
OUTBOX_OF_GROUP = "undegrade:outbox:"
"""+ group: sorted set of id:number by the millisecond at which it is due, or at which its lease ends."""
WEBHOOK_PROCESS = "undegrade:webhook-process:"
"""+ host name: there while a webhook process of this host runs."""
OUTBOX_BELL = "undegrade:outbox-bell"
"""List on which idle webhook processes block."""
WEBHOOK_SECRETS = "undegrade:webhook-secrets"
"""Hash: id of an API key -> JSON of jobs.webhook_secrets.Secrets."""
DISABLED_WEBHOOKS = "undegrade:disabled-webhooks"
"""Hash: 'owner digest of the URL' -> JSON of jobs.webhook_secrets.DisabledUrl."""
END_OF_JOB = "undegrade:ended:"
"""+ id: channel with a message when the job has ended, or is forgotten."""
CHANGES_OF_JOB = "undegrade:changed:"
"""+ id: channel with a message at each other change of the job."""
CHANGES = "undegrade:wake"
"""Channel of API processes up to 0.1: the id of each job that changed, followed by ' over' when it has ended."""

REPLICATED = "undegrade:replicated"
"""Channel without listeners: its messages are writes for which WAIT waits."""

ANYBODY = "-"
"""The subject of the quotas of all callers without an API key together; the subject of a key is its id."""

LEASE_MS = 15_000
OPEN_BATCH_MS = 60_000
"""A batch that no API process holds open for so long is withdrawn: the process died, or could not reach Redis."""
WITHDRAWN_BATCH_TTL_S = 24 * 3600
"""Longer than a request takes."""
WAIT_LEASE_MS = 30_000
"""An open wait that no API process renews for so long does not count any more."""
QUOTA_PENDING_MS = 30_000
"""A submission on another shard has ended by then, or its process has died."""
RECOUNT_MS = 10_000
MAX_RECOUNTED = 500
"""Of more jobs of a caller, so many are drawn."""
MAX_RUNNING_COMPARED = 100
"""Running jobs, and newest jobs, that are compared with the index of states at once."""
MAX_LEASES_LOOKED_AT = 1000
"""Leases that have ended, of which those are searched that end their jobs."""
MAX_DEATHS = 2
"""A job that was in this many workers or engines when they died fails as suspected poison."""
MAX_EVENTS_PER_JOB = 500
MAX_WEIGHT = 1000
"""Of an API key: its share of a line beside other keys."""
MAX_ADOPTED_AT_ONCE = 200
"""Jobs that a process of an earlier version has put into a line."""
MAX_SEARCHED = 500
"""Entries of RQ's list, from its nearer end, among which a job is searched that leaves it."""
MAX_TENANTS_COUNTED = 50
"""For a place in line: of more tenants, these stand for the others."""
MAX_TAKEN_COUNTED = 50
"""For a forecast: of more jobs that workers have taken of a lane, these stand for the others."""
MAX_RECENT_ENDS = 64
MAX_ARRIVALS = 32
MAX_COSTS = 128
MAX_RECLAIMED_AT_ONCE = 100
MAX_EXPIRED_AT_ONCE = 100
MEMORY_PERCENT_FOR_SUBMISSIONS = 80
"""Of Redis' maxmemory.  The rest is a reserve: jobs that were accepted must be able to end."""
DOUBTFUL_MS = 600_000
"""A write to an object store that was not seen to end has ended after this, or never will."""
RESERVATION_MS = 600_000
"""An input that has not become a job after this time belonged to a process that died."""
CLAIM_TTL_S = 24 * 3600
"""How long an Idempotency-Key stands for its first request."""
MAX_DELIVERIES_PER_JOB = 4
MAX_ATTEMPTS_KEPT = 30
"""Of one delivery: those of two rounds of tries, and more."""
MAX_GROUPS_AT_ONCE = 1000
MAX_RQ_RESULTS_PER_JOB = 10
DEFAULT_KEEP_S = 86_400
"""How long a record stays that says nothing else: one of an RQ job that is not ours."""
RQ_STARTED_GRACE_MS = 24 * 3600 * 1000
"""RQ's own cleanup, which `rq info` runs, must not take a job that our leases look after."""
QUEUED_TTL_S = 7 * 24 * 3600
"""A job that no worker takes for a week is forgotten."""
UNSTORED_S = 120
"""A job of which nothing may stay is forgotten after this, also when the process that waits for it has died."""
UNSTORED_KEEP_S = 30
"""The same after its end."""
EXPIRY_MARGIN_S = 3600
"""Keys outlive a job's expiry by this: longer than the sweep's interval, so the sweep still finds the job's owner."""
WORKER_TTL_S = 20
