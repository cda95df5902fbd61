"""`undegrade api`: the HTTP service without a worker."""

from contextlib import ExitStack
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit_codes import ExitCode, exit_on_error
from cli.listening import bare_host, check_metrics_port, close, listen
from cli.options import Host, MetricsPort, NoPage, Port, RedisUrl, StoreUrl, UnixSocket, UnixSocketMode
from cli.redis_access import run_with_redis
from cli.server_urls import checked_redis_url, checked_store_url
from cli.settings import Settings, listed, settings
from cli.tracing import process_tracer
from cli.unix_socket import listen_on_socket, socket_mode
from jobs.json_log import log_as_json
from models.errors import ControlsError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from service.settings import ServiceSettings


def api(
    host: Host = None,
    port: Port = None,
    bundle: Annotated[
        str | None,
        typer.Option(help="Bundle of jobs that name none. Default: UNDEGRADE_BUNDLE, or else autodir-small."),
    ] = None,
    redis_url: RedisUrl = None,
    store_url: StoreUrl = None,
    metrics_port: MetricsPort = None,
    unix_socket: UnixSocket = None,
    unix_socket_mode: UnixSocketMode = None,
    no_page: NoPage = False,
) -> None:
    """Run the HTTP API, without a worker.

    `undegrade worker`, here or on other machines, runs the jobs.

    Example: undegrade api --host 0.0.0.0 --redis-url redis://queue:6379/0 --store-url s3://images/undegrade
    """
    with exit_on_error():
        service = service_settings(
            settings(), host=host, port=port, bundle=bundle, redis_url=redis_url, store_url=store_url,
            metrics_port=metrics_port, unix_socket=unix_socket, page=False if no_page else None,
        )  # fmt: skip
        with ExitStack() as ending:
            sockets = open_sockets(ending, service, unix_socket_mode)
            check_metrics_port(service.host, service.metrics_port)
            from service.app import create_app  # only now: its imports take seconds, and a taken port is told at once
            from service.server import server_for

            tracer = process_tracer("undegrade-api")
            ending.callback(tracer.close)
            run_with_redis(service.redis_url, lambda client: check_open_port(service, client))
            log_as_json()
            server = server_for(create_app(service, tracer), service)
            try:
                server.run(sockets=sockets)
            except SystemExit:
                if server.started:  # a signal ended it
                    raise
                raise typer.Exit(ExitCode.SERVER) from None  # its own code for this means something else here


def open_sockets(ending: ExitStack, service: "ServiceSettings", mode: str | None) -> list[socket]:
    """Listen at the address or on the Unix socket of the settings, until the stack ends.

    Raises:
        ListenError: the address or the socket cannot be used.
        ControlsError: the mode of the socket has another form.
    """
    if service.unix_socket is None:
        ending.callback(close, sockets := listen(service.host, service.port))
        return sockets
    try:
        octal = socket_mode(mode or settings().unix_socket_mode)
    except ValueError as error:
        raise ControlsError(f"--unix-socket-mode: {error}") from error
    return ending.enter_context(listen_on_socket(service.unix_socket, octal))


def service_settings(env: Settings, **options: object) -> "ServiceSettings":
    """Returns the settings of the service: `env`, overridden by the options that are not None."""
    from service.settings import MEGABYTE, ServiceSettings

    values: dict[str, object] = {
        "redis_url": env.redis_url, "store_url": env.store_url, "bundle": env.default_bundle or ServiceSettings.bundle,
        "host": env.host, "port": env.port, "metrics_port": env.metrics_port, "auth": env.auth,
        "max_bytes": round(env.max_megabytes * MEGABYTE), "max_megapixels": env.max_megapixels,
        "max_queued": env.max_queued, "keep_s": env.keep_s, "max_batch_images": env.max_batch_images,
        "max_batch_bytes": round(env.max_batch_megabytes * MEGABYTE),
        "max_stored_bytes": round(env.max_stored_megabytes * MEGABYTE),
        "max_stored_bytes_per_key": round(env.max_stored_megabytes_per_key * MEGABYTE),
        "allowed_hosts": listed(env.allowed_hosts), "allowed_origins": listed(env.allowed_origins),
        "image_url_hosts": listed(env.image_url_hosts), "quotas": env.quotas,
        "trusted_proxies": listed(env.trusted_proxies), "root_path": env.root_path,
        "webhook_hosts": listed(env.webhook_hosts), "result_hosts": listed(env.result_hosts),
        "url_ports": tuple(map(int, listed(env.url_ports))),
        "idle_s": env.idle_s, "head_s": env.head_s, "stall_s": env.stall_s,
        "access_log": env.access_log, "unix_socket": Path(env.unix_socket) if env.unix_socket else None,
        "page": env.page == "on", "redis_wait_replicas": env.redis_wait_replicas,
        "redis_wait_s": env.redis_wait_s,
    }  # fmt: skip
    values |= {name: value for name, value in options.items() if value is not None}
    values["host"] = bare_host(str(values["host"]))
    values["redis_url"] = checked_redis_url(str(values["redis_url"]))
    values["store_url"] = checked_store_url(str(values["store_url"]))
    return ServiceSettings(**values)  # type: ignore[arg-type]


async def check_open_port(service: "ServiceSettings", client: "Redis") -> None:
    """Refuse to listen on the network while no API key exists.

    Raises:
        ControlsError: the port would be open; the message says what to do.
        RedisError: Redis cannot be asked for keys.
    """
    from jobs.api_keys import any_keys
    from service.listen_address import check_binding
    from service.refusals import UnsafeBinding

    if service.unix_socket is not None:  # its permissions decide who reaches it
        return
    any_key = await any_keys(client)
    try:
        check_binding(service.host, service.auth, any_key)
    except UnsafeBinding as error:
        remedy = (
            "`undegrade keys create NAME` creates a key; UNDEGRADE_AUTH=on refuses all requests until then; "
            "UNDEGRADE_AUTH=off switches authentication off."
        )
        raise ControlsError(f"{error} {remedy}") from error
