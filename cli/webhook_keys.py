"""`undegrade keys webhook-secret` and `undegrade keys webhooks`: what an API key needs for its webhooks."""

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table

from cli.console import print_error, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import DataFolder, RedisUrl
from cli.redis_access import run_on_redis
from jobs import webhook_secrets
from jobs.hooks import NO_OWNER

if TYPE_CHECKING:
    from redis.asyncio import Redis

KeyId = Annotated[
    str,
    typer.Argument(
        metavar="KEY_ID",
        help=f"Id of the API key, from `undegrade keys list`; {NO_OWNER} for jobs that were sent without a key.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `undegrade keys`."""
    app.command("webhook-secret")(webhook_secret)
    app.command("webhooks")(webhooks)


def webhook_secret(
    key_id: KeyId,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new secret. The present one stays valid for 24 hours.")
    ] = False,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Print the secret that signs the webhooks of an API key. The first call makes it.

    Receivers verify webhooks with it. After --rotate, webhooks have two signatures for 24 hours, so receivers can
    change to the new secret in that time.

    Example: undegrade keys webhook-secret 1f0c3a9be211 --rotate
    """

    async def read(client: "Redis") -> webhook_secrets.Secrets | None:
        if not await webhook_secrets.owner_exists(client, key_id):
            return None
        if rotate:
            return await webhook_secrets.rotate(client, key_id, _now_ms())
        return await webhook_secrets.secrets_of(client, key_id)

    with exit_on_error():
        secrets = run_on_redis(redis_url, data, read)
        if secrets is None:
            _no_such_key(key_id)
    sys.stdout.write(secrets.current + "\n")
    if len(secrets.valid(_now_ms())) > 1:
        until = datetime.fromtimestamp(secrets.old_until_ms / 1000, UTC)
        print_message(f"the secret before it signs as well until {until:%Y-%m-%d %H:%M} UTC")


def webhooks(
    key_id: KeyId,
    enable: Annotated[
        str | None, typer.Option("--enable", metavar="URL", help="Send webhooks to this URL again.")
    ] = None,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """List the webhook URLs of an API key whose receivers answered 410 Gone, or enable one again.

    Only scheme, host and port of a URL are kept. --enable needs the whole URL.

    Example: undegrade keys webhooks 1f0c3a9be211 --enable https://example.com/hook
    """
    with exit_on_error():
        if enable is not None:
            url = enable
            if not run_on_redis(redis_url, data, lambda client: webhook_secrets.enable(client, key_id, url)):
                print_error("this URL is not disabled for this key. Give the URL as the jobs have it.")
                raise typer.Exit(ExitCode.USAGE)
            print_message("enabled: new jobs may name the URL again")
            return
        disabled = run_on_redis(redis_url, data, lambda client: webhook_secrets.disabled_urls(client, key_id))
        table = Table("URL", "disabled since (UTC)")
        for entry in disabled:
            table.add_row(entry.origin + "/...", f"{datetime.fromtimestamp(entry.since_ms / 1000, UTC):%Y-%m-%d %H:%M}")
        if disabled:
            print_table(table)
        else:
            print_message(f"no webhook URL of the key {key_id} is disabled")


def _no_such_key(key_id: str) -> NoReturn:
    print_error(f"no key has the id {key_id}. `undegrade keys list` shows all ids.")
    raise typer.Exit(ExitCode.USAGE)


def _now_ms() -> int:
    return time.time_ns() // 10**6
