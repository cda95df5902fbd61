"""`undegrade api`: the HTTP half alone; workers run elsewhere."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import sentences
from cli.settings import Settings, settings
from cli.worker import log_as_json
from models.errors import ControlsError

if TYPE_CHECKING:
    from service.settings import ServiceSettings

Host = Annotated[str | None, typer.Option(help="The address to listen on.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on.")]


def api(
    host: Host = None,
    port: Port = None,
    bundle: Annotated[str | None, typer.Option(help="The bundle of jobs that name none.")] = None,
    redis_url: Annotated[str | None, typer.Option(help="redis://, rediss:// or unix://.")] = None,
    store_url: Annotated[str | None, typer.Option(help="Where pictures are: redis://, file://, s3://.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Answer /metrics on this port.")] = None,
) -> None:
    """Answer HTTP; the work is done by `undegrade worker`, here or on other machines.

    Example: undegrade api --host 0.0.0.0 --redis-url redis://queue:6379/0 --store-url s3://pictures/undegrade
    """
    with sentences():
        from service.app import create_app
        from service.server import server_for

        said = service_settings(
            settings(), host=host, port=port, bundle=bundle, redis_url=redis_url, store_url=store_url,
            metrics_port=metrics_port,
        )  # fmt: skip
        ensure_bindable(said)
        log_as_json()
        server_for(create_app(said), said).run()


def service_settings(told: Settings, **said: object) -> "ServiceSettings":
    """The service's settings: what the environment says, what was said on the command line over it."""
    from service.settings import MEGABYTE, ServiceSettings

    values: dict[str, object] = {
        "redis_url": told.redis_url, "store_url": told.store_url, "bundle": told.default_bundle or "autodir-small",
        "host": told.host, "port": told.port, "metrics_port": told.metrics_port, "auth": told.auth,
        "max_bytes": round(told.max_megabytes * MEGABYTE), "max_megapixels": told.max_megapixels,
        "max_queued": told.max_queued, "keep_s": told.keep_s,
    }  # fmt: skip
    return ServiceSettings(**{**values, **{name: value for name, value in said.items() if value is not None}})  # type: ignore[arg-type]


def ensure_bindable(said: "ServiceSettings") -> None:
    """Refuse to be open to the network without a key.

    Raises:
        ControlsError: it would be; the message says what to do.
        typer.Exit: Redis cannot be asked for keys.
    """
    from cli.keys import with_redis
    from jobs.api_keys import any_keys
    from service.listen_address import check_binding
    from service.refusals import UnsafeBinding

    any_key = with_redis(said.redis_url, any_keys)
    try:
        check_binding(said.host, said.auth, any_key)
    except UnsafeBinding as error:
        remedy = "`undegrade keys create NAME` makes a key; UNDEGRADE_AUTH=off switches authentication off."
        raise ControlsError(f"{error} {remedy}") from error
