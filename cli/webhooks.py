"""`undegrade webhooks`: the process that sends webhooks, and results to callers' URLs."""

import asyncio
from typing import TYPE_CHECKING

from cli import event_loop
from cli.api import service_settings
from cli.console import print_message
from cli.exit_codes import exit_on_error
from cli.listening import check_metrics_port
from cli.options import MetricsPort, RedisUrl, StoreUrl
from cli.probe_server import serve_probes
from cli.settings import settings
from jobs.end_tasks import end_tasks
from jobs.json_log import log_as_json

if TYPE_CHECKING:
    from service.settings import ServiceSettings
    from service.webhooks.sender import Sender
    from service.webhooks.senders import Senders


def webhooks(redis_url: RedisUrl = None, store_url: StoreUrl = None, metrics_port: MetricsPort = None) -> None:
    """Send webhooks, and results to the URLs of callers, until stopped.

    UNDEGRADE_WEBHOOK_HOSTS and UNDEGRADE_RESULT_HOSTS allow hosts; set them for the API as well. Several processes may
    run: each delivery is sent by one of them. `undegrade serve` runs one if a host is allowed.

    Example: UNDEGRADE_WEBHOOK_HOSTS='*' undegrade webhooks --redis-url redis://queue:6379/0
    """
    with exit_on_error():
        service = service_settings(
            settings(), redis_url=redis_url, store_url=store_url, metrics_port=metrics_port
        )  # fmt: skip
        check_metrics_port(service.host, service.metrics_port)
        log_as_json()
        event_loop.run(_run(service))
    print_message("stopped; what is not sent stays in the outbox")


async def _run(service: "ServiceSettings") -> None:
    from service.webhooks.process import run_webhooks  # only now: its imports take a while
    from worker.probes import Heartbeat

    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.run())

    def probe(sender: "Sender | Senders") -> None:
        checks = {"/livez": heartbeat.reasons, "/readyz": sender.trouble, "/startupz": sender.start_trouble}
        serve_probes(service.host, service.metrics_port, checks)

    try:
        await run_webhooks(service, probe)
    finally:
        await end_tasks(beating)
