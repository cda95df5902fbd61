"""Which scripts of the queue the random lives of jobs run, and why they do not run the others."""

RUN_BY_RULES = {
    "submit", "lease", "report_progress", "commit", "cancel", "release", "reclaim", "renew", "forget", "purge",
    "expire", "release_unheld", "resume_lane", "seal_batch", "forget_batch", "list_jobs", "list_batches", "read_batch",
    "record_with_result", "line",
}  # fmt: skip
"""Of the random lives of jobs on one server."""

DELIVERIES = {"claim_deliveries", "renew_deliveries", "settle_delivery", "redeliver", "adopt_hooks"}
"""Run by the random lives on two shards, too."""

CHANGE_NO_JOB = {
    **dict.fromkeys(("announce",), "workers alone: test_worker_registry.py"),
    **dict.fromkeys(("put_blob", "mark_blob", "blob_written", "drop_blobs"), "pictures alone: test_blobs_of_jobs.py"),
    **dict.fromkeys(("reserve", "unreserve"), "room before there is a job: tests/service/test_storage_full.py"),
    **dict.fromkeys(("hold_batch", "withdraw_batch"), "batches that are not made yet: test_open_batches.py"),
    "index_states": "what earlier versions did: test_index_of_states.py",
    "open_upload": "uploads before there is a job: tests/service/test_direct_uploads.py",
    **dict.fromkeys(("take_quota", "settle_quota"), "quotas over several servers: test_sharded_queue.py"),
    **dict.fromkeys(("count_request", "hold_wait", "renew_waits"), "quotas alone: test_quota_counters.py"),
    **dict.fromkeys(DELIVERIES, "deliveries after the end of a job: test_outbox.py, test_life_on_shards.py"),
}
"""Scripts that no rule runs, with the reason and where they are tested."""
