"""Takes jobs from the queue and owns the device.

Two processes: the supervisor talks to Redis and the store, and never loads torch; the engine child holds the models.
Reading order: messages, picking, engine_entry, engine, engine_startup, engine_child (the child); then
engine_link, job_run, held_jobs, lease_loop, lease_renewal, committer, upkeep, supervisor.
"""
