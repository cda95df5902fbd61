"""Serves the probes of a process that has no HTTP port of its own."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.probes import Checks


def serve_probes(host: str, port: int | None, checks: "Checks") -> None:
    """Answer the probes on this port and address; None: do not."""
    if port is None:
        return
    from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

    from worker.probes import with_probes

    registry = CollectorRegistry()
    server, _ = start_http_server(port, host, registry)
    server.set_app(with_probes(make_wsgi_app(registry), checks))
