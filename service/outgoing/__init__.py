"""Requests to URLs that callers of the API give: which are allowed, and a client that reaches only those.

A caller could otherwise make this server fetch or post inside its own network (server-side request forgery): a cloud's
metadata service, Redis, the Kubernetes API.  docs/decisions/0035-webhooks.md gives the reasons for the rules.
"""
