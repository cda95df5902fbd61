"""`undegrade keys`: the API keys of the service."""

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from cli import webhook_keys
from cli.console import print_error, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.options import DataFolder, RedisUrl
from cli.redis_access import run_on_redis
from jobs import api_keys
from models.errors import ControlsError

app = typer.Typer(add_completion=False, help="Create, list and revoke API keys.", no_args_is_help=True)
webhook_keys.register(app)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's owner, shown by `keys list`.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="The key may also watch and steer workers and lanes over HTTP.")
    ] = False,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Create a key and print it.

    The key is shown only once: the server stores a hash of it.

    Without --redis-url and UNDEGRADE_REDIS_URL, the key is for `undegrade serve` on this machine, running or not.

    Example: undegrade keys create website
    """
    with exit_on_error():
        if not name.strip() or not name.isprintable():
            raise ControlsError("got a NAME that is empty or has control characters, expected visible characters")
        scope: api_keys.Scope = "admin" if admin else "restore"
        key_id, secret = run_on_redis(redis_url, data, lambda client: api_keys.create(client, name, scope))
    sys.stdout.write(secret + "\n")
    print_message(
        f"{'admin ' if admin else ''}key {key_id} for {name}. "
        "Send it as `Authorization: Bearer KEY`. It is not shown again."
    )


@app.command("list")
def list_all(redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """List the id, name, scope and creation time of every key."""
    with exit_on_error():
        keys = run_on_redis(redis_url, data, api_keys.list_keys)
        table = Table("id", "name", "scope", "created")
        for key in keys:
            created = datetime.fromtimestamp(key.created_ms / 1000, UTC)
            table.add_row(key.id, key.name, key.scope, f"{created:%Y-%m-%d %H:%M}")
        if keys:
            print_table(table)
        else:
            print_message("no keys: the API accepts requests without a key, unless UNDEGRADE_AUTH=on")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key, from `undegrade keys list`.")],
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Revoke a key, with immediate effect."""
    with exit_on_error():
        if not run_on_redis(redis_url, data, lambda client: api_keys.revoke(client, key_id)):
            print_error(f"no key has the id {key_id}. `undegrade keys list` shows all ids.")
            raise typer.Exit(ExitCode.USAGE)
    print_message(f"key {key_id} is revoked")
