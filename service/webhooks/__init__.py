"""Webhooks and result URLs: accepting them with a job, and the process that sends them (docs/webhooks.md)."""
