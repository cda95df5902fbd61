"""Takes jobs and owns the device.

Two processes: a supervisor that talks to Redis and the store (no torch), and an engine child with the models resident.
Reading order: messages, picking, engine, golden, child (the child's side), pictures, link, job, supervisor (the other).
"""
