"""HTTP: takes photos in, says how their jobs are, hands the results out.

Never torch, never worker.  Reading order: settings, refusals, order, upload, picture, desk, job_body, routes/, app.
Beside them: wakes (long polls and streams), gate (API keys), access (ids, logs, counts), negotiation, transcode,
metrics, server.
"""
