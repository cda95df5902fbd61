"""`undegrade serve`: the whole service on one machine: API, embedded Valkey and one worker."""

import os
import resource
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Annotated

import typer
from redis.exceptions import RedisError

from cli import event_loop
from cli.api import open_sockets, service_settings
from cli.bundle_loading import find_bundles
from cli.console import print_error, print_warning
from cli.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from cli.exit_codes import ExitCode, exit_on_error
from cli.listening import check_metrics_port
from cli.options import Device, Host, NoPage, Port, ServedBundles, UnixSocket, UnixSocketMode
from cli.private_files import default_folder, keep_new_files_private
from cli.server_urls import checked_redis_url
from cli.settings import Settings, settings
from cli.tracing import process_tracer
from jobs.json_log import log_as_json
from models.errors import ControlsError

if TYPE_CHECKING:
    from service.settings import ServiceSettings

FEW_FILES = 256


def serve(
    host: Host = None,
    port: Port = None,
    device: Device = None,
    bundle: ServedBundles = None,
    redis_url: Annotated[
        str | None,
        typer.Option(help="Use this Redis server instead of an embedded one. Default: UNDEGRADE_REDIS_URL, if set."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data folder of the embedded Redis server. Default: UNDEGRADE_DATA, if set.")
    ] = None,
    unix_socket: UnixSocket = None,
    unix_socket_mode: UnixSocketMode = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser; without a page, the API's documentation.")
    ] = False,
    no_page: NoPage = False,
) -> None:
    """Run the whole service on this machine: API, queue and one worker.

    Ctrl-C stops all of them. Queued jobs stay on disk and continue after the next start.

    Example: undegrade serve --port 8000 --bundle autodir-small --bundle daclip-small
    """
    code = ExitCode.OK
    with exit_on_error(), ExitStack() as ending:
        env = settings()
        service = service_settings(env, host=host, port=port, unix_socket=unix_socket, page=False if no_page else None)
        # First: nothing else is started, or even imported, for a port that is taken
        if service.unix_socket is not None and open_page:
            raise ControlsError("--open needs a port, and a browser cannot reach a Unix socket. Leave out one of them.")
        sockets = open_sockets(ending, service, unix_socket_mode)
        check_metrics_port(service.host, service.metrics_port, "UNDEGRADE_METRICS_PORT")
        folders = find_bundles(bundle or env.bundle_names)
        service = replace(service, bundle=next(iter(folders)))
        bundles = ",".join(str(folder) for folder in folders.values())
        os.environ.update(UNDEGRADE_DEVICE=device or env.device, UNDEGRADE_BUNDLE=bundles)  # for the worker process
        external = redis_url or os.environ.get("UNDEGRADE_REDIS_URL")
        if external:
            service, folder = replace(service, redis_url=checked_redis_url(external)), None
        else:
            folder = data or (Path(env.data) if env.data else default_folder(service.port))
        try:
            code = _serve(service, sockets, folder, env, open_page)
        except EmbeddedRedisError as error:
            print_error(str(error))
            code = ExitCode.SERVER
        except RedisError as error:
            print_error(f"cannot use the Redis server: {str(error).rstrip('.')}. Check --redis-url.")
            code = ExitCode.SERVER
    if code:
        raise typer.Exit(code)


def _serve(
    service: "ServiceSettings", sockets: Sequence[socket], folder: Path | None, env: Settings, open_page: bool
) -> ExitCode:
    """Serve with the embedded Valkey of a data folder, or with the Redis of the settings where that is None."""
    with ExitStack() as ending:
        keep_new_files_private()
        _allow_many_files()
        redis = None
        if folder is not None:
            redis = EmbeddedRedis(folder, env.redis_megabytes)
            ending.callback(redis.release)
            redis.open()
            service = replace(service, redis_url=redis.url, embedded_redis_folder=folder)
        tracer = process_tracer("undegrade-api")
        ending.callback(tracer.close)
        log_as_json()

        async def run() -> ExitCode:  # made on the loop that it runs on
            from cli.service_run import ServiceRun

            return await ServiceRun(
                service, sockets, redis, grace_s=env.grace_s, open_page=open_page, tracer=tracer
            ).run()

        return event_loop.run(run())


def _allow_many_files() -> None:
    """Raise the limit of open files as far as this user may: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        try:
            wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        except (OSError, ValueError):
            pass
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FEW_FILES:
        print_warning(f"this process may open only {soft} files (ulimit -n): with many callers, requests will fail.")
