"""`undegrade webhooks`: the process that sends webhooks, and results to callers' URLs."""

from cli import event_loop
from cli.api import service_settings
from cli.console import print_message
from cli.exit_codes import exit_on_error
from cli.options import RedisUrl, StoreUrl
from cli.settings import settings
from jobs.json_log import log_as_json


def webhooks(redis_url: RedisUrl = None, store_url: StoreUrl = None) -> None:
    """Send webhooks, and results to the URLs of callers, until stopped.

    UNDEGRADE_WEBHOOK_HOSTS and UNDEGRADE_RESULT_HOSTS allow hosts; set them for the API as well. Several processes may
    run: each delivery is sent by one of them. `undegrade serve` runs one where a host is allowed.

    Example: UNDEGRADE_WEBHOOK_HOSTS='*' undegrade webhooks --redis-url redis://queue:6379/0
    """
    with exit_on_error():
        service = service_settings(settings(), redis_url=redis_url, store_url=store_url)
        from service.webhooks.process import run_webhooks  # only now: its imports take a while

        log_as_json()
        event_loop.run(run_webhooks(service))
    print_message("stopped; what is not sent stays in the outbox")
