"""The HTTP API: accepts images, reports on jobs, and returns the results.

This room never imports torch or the worker.  Reading order: settings, refusals, options, image_header, upload, desk,
job_view, routes/, app.  Each of the other modules stands alone: job_waiters (long polls and event streams),
authentication, negotiation, request_log, problems, transcode, metrics, server.
"""
