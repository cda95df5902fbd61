"""`undegrade keys`: the API keys of the service."""

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from cli import webhook_keys
from cli.console import print_error, print_message, print_table
from cli.exit_codes import ExitCode, exit_on_error
from cli.key_options import read_expiry, read_quotas, read_scopes, shown_quotas
from cli.options import DataFolder, JsonRows, RedisUrl
from cli.redis_access import redis_place, run_on_redis
from jobs import api_keys
from jobs.api_keys import MAX_WEIGHT, ApiKey
from models.errors import ControlsError

app = typer.Typer(add_completion=False, help="Create, list, change and revoke API keys.", no_args_is_help=True)
webhook_keys.register(app)
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key, from `undegrade keys list`.")]
AdminKey = Annotated[
    bool, typer.Option("--admin", help="The same as --scope admin: the key may do everything, also over HTTP.")
]
Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        help="restore: send images, cancel and delete jobs. read: see jobs and results. admin: everything, and watch "
        "and steer workers and lanes. Repeat it for several.",
    ),
]
QuotaOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--quota",
        metavar="NAME=VALUE",
        help="requests=10/s (or /min, /h), burst=20 (requests at once), jobs=100 (in line), megapixels=5000/day, "
        "waits=20 (at the same time), or NAME=unlimited. Repeat it for several.",
    ),
]
Expires = Annotated[
    str | None, typer.Option(metavar="TIME", help="Expire after hours, days or weeks, as in 12h, 90d or 8w; or never.")
]
Weight = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_WEIGHT, help="Stored for a later version, which will share the workers by it."),
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's owner, shown by `keys list`.")],
    admin: AdminKey = False,
    scope: Scopes = None,
    quota: QuotaOptions = None,
    expires: Expires = None,
    weight: Weight = None,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Create a key and print it.

    The key is shown only once: the server stores a hash of it. Without --scope, it may restore and read.

    Without --redis-url and UNDEGRADE_REDIS_URL, the key is for `undegrade serve` on this machine, running or not.

    Example: undegrade keys create website --quota requests=10/s --quota jobs=100 --expires 90d
    """
    with exit_on_error():
        _check_name(name)
        scopes, quotas = read_scopes(scope or [], admin), read_quotas(quota or [])
        expires_ms = read_expiry(expires) if expires else None
        key_id, secret = run_on_redis(
            redis_url, data,
            lambda client: api_keys.create(
                client, name, *scopes, expires_ms=expires_ms, weight=weight or 1, quotas=quotas
            ),
        )  # fmt: skip
    sys.stdout.write(secret + "\n")
    print_message(
        f"{'admin ' if 'admin' in scopes else ''}key {key_id} for {name}, stored in {redis_place(redis_url, data)}. "
        "Send it as `Authorization: Bearer KEY`. It is not shown again."
    )


@app.command("list")
def list_all(json_rows: JsonRows = False, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """List every key, also those that have expired: scopes, quotas, weight and times (UTC)."""
    with exit_on_error():
        keys = run_on_redis(redis_url, data, api_keys.list_keys)
        if json_rows:
            for key in keys:
                sys.stdout.write(json.dumps(_row(key)) + "\n")
        elif keys:
            print_table(_table(keys))
        else:
            place = redis_place(redis_url, data)
            print_message(f"no keys in {place}: its API accepts requests without a key, unless UNDEGRADE_AUTH=on")


@app.command()
def update(
    key_id: KeyId,
    name: Annotated[str | None, typer.Option(help="Name of the key's owner.")] = None,
    admin: AdminKey = False,
    scope: Scopes = None,
    quota: QuotaOptions = None,
    expires: Expires = None,
    weight: Weight = None,
    redis_url: RedisUrl = None,
    data: DataFolder = None,
) -> None:
    """Change a key, which stays the same for its owner. What no option names stays as it is.

    --scope replaces all scopes. --quota NAME=default removes a quota, so that the one of the API's settings counts.

    Example: undegrade keys update 5f0c9b1d2e3f --quota jobs=200 --quota waits=default --expires 30d
    """
    with exit_on_error():
        changes: dict[str, Any] = {}
        if name is not None:
            _check_name(name)
            changes["name"] = name
        if scope or admin:
            changes["scopes"] = read_scopes(scope or [], admin)
        if expires:
            changes["expires_ms"] = read_expiry(expires)
        if weight is not None:
            changes["weight"] = weight
        if not changes and not quota:
            raise ControlsError("nothing to change, expected --name, --scope, --quota, --expires or --weight")
        key = run_on_redis(redis_url, data, lambda client: _update(client, key_id, quota or [], changes))
        if key is None:
            _no_key(key_id, redis_place(redis_url, data))
        print_table(_table([key]))


@app.command()
def revoke(key_id: KeyId, redis_url: RedisUrl = None, data: DataFolder = None) -> None:
    """Revoke a key, with immediate effect."""
    with exit_on_error():
        if not run_on_redis(redis_url, data, lambda client: api_keys.revoke(client, key_id)):
            _no_key(key_id, redis_place(redis_url, data))
    print_message(f"key {key_id} is revoked")


async def _update(client: Any, key_id: str, quota: list[str], changes: dict[str, Any]) -> ApiKey | None:  # noqa: ANN401
    if quota:
        before = await api_keys.find(client, key_id)
        if before is None:
            return None
        changes = {**changes, "quotas": read_quotas(quota, before.quotas)}
    return await api_keys.update(client, key_id, **changes)


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable():
        raise ControlsError("got a NAME that is empty or has control characters, expected visible characters")


def _no_key(key_id: str, place: str) -> NoReturn:
    print_error(f"no key in {place} has the id {key_id}. `undegrade keys list` shows all ids.")
    raise typer.Exit(ExitCode.USAGE)


def _row(key: ApiKey) -> dict[str, Any]:
    """Return a key as JSON, without its digest."""
    return {
        "id": key.id, "name": key.name, "scopes": list(key.shown_scopes), "expired": key.expired(),
        "quotas": key.quotas, "weight": key.weight, "created": _iso(key.created_ms),
        "last_used": _iso(key.last_used_ms), "expires": _iso(key.expires_ms),
    }  # fmt: skip


def _table(keys: list[ApiKey]) -> Table:
    table = Table()
    for header in ("id", "name", "scopes"):
        table.add_column(header, no_wrap=header != "scopes")
    table.add_column("quotas", min_width=len("megapixels=100000/day"))
    for header in ("weight", "created", "last used", "expires"):
        table.add_column(header, no_wrap=True)
    for key in keys:
        table.add_row(
            key.id, key.name, " ".join(key.shown_scopes), shown_quotas(key.quotas) or "-", str(key.weight),
            _day(key.created_ms), _minute(key.last_used_ms),
            f"expired {_day(key.expires_ms)}" if key.expired() else _minute(key.expires_ms),
        )  # fmt: skip
    return table


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _iso(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{_utc(milliseconds):%Y-%m-%dT%H:%M:%SZ}"


def _minute(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else f"{_utc(milliseconds):%Y-%m-%d %H:%M}"


def _day(milliseconds: int | None) -> str:
    return "never" if milliseconds is None else f"{_utc(milliseconds):%Y-%m-%d}"
