"""Traces of requests and jobs, across processes.

`context` is the W3C trace context that travels in headers and job records.  `spans` is what the service and the
workers use: tracers and spans that do nothing unless `opening` makes real ones from the environment.  Only `otel`
imports OpenTelemetry, and only `opening` imports `otel`.
"""
