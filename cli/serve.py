"""`undegrade serve`: the whole service on one machine: API, embedded Valkey and one worker."""

import asyncio
import os
import signal
import subprocess
import sys
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import event_loop
from cli.api import refuse_open_port_without_key, service_settings
from cli.bundle_loading import find_bundles
from cli.console import print_error, print_message, print_warning
from cli.embedded_redis import EmbeddedRedis, EmbeddedRedisError, default_folder, end_with_parent
from cli.exit_codes import ExitCode, exit_on_error
from cli.json_log import log_as_json
from cli.options import Device, Host, Port, ServedBundles
from cli.server_urls import checked_redis_url
from cli.settings import settings
from jobs.backoff import Backoff

if TYPE_CHECKING:
    from service.server import Server
    from service.settings import ServiceSettings

POLL_S = 0.2
FIRST_RESTART_PAUSE_S = 1.0
LONGEST_RESTART_PAUSE_S = 30.0
WORKER_END_S = 10.0
"""Time for the engine to end, after UNDEGRADE_GRACE_S."""


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
    open_page: Annotated[bool, typer.Option("--open", help="Open the API's documentation in a browser.")] = False,
) -> None:
    """Run the whole service on this machine: API, queue and one worker.

    Ctrl-C stops all of them. Queued jobs stay on disk and continue after the next start.

    Example: undegrade serve --port 8000 --bundle autodir-small --bundle daclip-small
    """
    code = ExitCode.OK
    with exit_on_error():
        env = settings()
        folders = find_bundles(bundle or env.bundle_names)
        service = service_settings(env, host=host, port=port, bundle=next(iter(folders)))
        bundles = ",".join(str(folder) for folder in folders.values())
        os.environ.update(UNDEGRADE_DEVICE=device or env.device, UNDEGRADE_BUNDLE=bundles)  # for the worker process
        try:
            if external := redis_url or os.environ.get("UNDEGRADE_REDIS_URL"):
                code = _serve(replace(service, redis_url=checked_redis_url(external)), None, open_page)
            else:
                folder = data or (Path(env.data) if env.data else default_folder(service.port))
                with EmbeddedRedis(folder, env.redis_megabytes) as redis:
                    own = replace(service, redis_url=redis.url, embedded_redis_folder=folder)
                    code = _serve(own, redis, open_page)
        except EmbeddedRedisError as error:
            print_error(str(error))
            code = ExitCode.SERVER
    if code:
        raise typer.Exit(code)


def _serve(service: "ServiceSettings", redis: EmbeddedRedis | None, open_page: bool) -> ExitCode:
    refuse_open_port_without_key(service)
    worker = _WorkerProcess(service)
    worker.start()
    try:
        return event_loop.run(_run_api(service, redis, worker, open_page))
    finally:
        worker.stop()


class _WorkerProcess:
    """`undegrade worker` in a process of its own."""

    def __init__(self, service: "ServiceSettings") -> None:
        self.service = service
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "cli", "worker", "--redis-url", self.service.redis_url, "--store-url",
                   self.service.store_url]  # fmt: skip
        env = {name: value for name, value in os.environ.items() if name != "UNDEGRADE_METRICS_PORT"}  # the API has it
        # A new session: Ctrl-C reaches this process only, which then stops the worker
        self.process = subprocess.Popen(
            command, env=env, start_new_session=True, preexec_fn=end_with_parent(signal.SIGKILL)
        )  # fmt: skip

    def exit_code(self) -> int | None:
        """Returns the exit code, or None while the process runs."""
        return self.process.poll() if self.process else None

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(settings().grace_s + WORKER_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


async def _run_api(
    service: "ServiceSettings", redis: EmbeddedRedis | None, worker: _WorkerProcess, open_page: bool
) -> ExitCode:
    """Run the API until a signal arrives, or until the worker reports that it cannot work."""
    from service.app import create_app
    from service.server import server_for

    log_as_json()
    server = server_for(create_app(service), service)
    restarting = asyncio.create_task(_restart_what_ends(server, redis, worker))
    announcing = asyncio.create_task(_announce(server, service, open_page))
    try:
        await server.serve()
    except SystemExit:
        if server.started:  # a signal: uvicorn raises it again after closing
            return ExitCode.OK
        print_error(f"cannot listen on {service.host}:{service.port}: the port may be in use. Try --port 0.")
        return ExitCode.SERVER
    finally:
        restarting.cancel()
        announcing.cancel()
        results = await asyncio.gather(restarting, announcing, return_exceptions=True)
    return results[0] if isinstance(results[0], ExitCode) else ExitCode.OK


async def _restart_what_ends(server: "Server", redis: EmbeddedRedis | None, worker: _WorkerProcess) -> ExitCode:
    """Restart Valkey and the worker when they end.  Stop the server if the worker's bundle or device is at fault."""
    backoff = Backoff(FIRST_RESTART_PAUSE_S, LONGEST_RESTART_PAUSE_S)
    while True:
        await asyncio.sleep(POLL_S)
        if redis is not None and not redis.running():
            print_warning("the embedded Valkey ended; restarting it with the data on disk")
            await asyncio.to_thread(redis.start)
        code = worker.exit_code()
        if code is None:
            continue
        if code in (ExitCode.MODEL, ExitCode.DEVICE, ExitCode.USAGE):
            print_error("the worker cannot run; see the error above")
            server.should_exit = True
            return ExitCode(code)
        pause_s = backoff.next_s()
        print_warning(f"the worker ended with exit code {code}; starting a new one in {pause_s:.0f} s")
        await asyncio.sleep(pause_s)
        worker.start()


async def _announce(server: "Server", service: "ServiceSettings", open_page: bool) -> None:
    """Print the URL, and how to use it as soon as a worker is ready."""
    from jobs.queue import Queue
    from jobs.redis_client import open_redis

    while not server.started:
        await asyncio.sleep(POLL_S)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://{'127.0.0.1' if service.host in ('0.0.0.0', '::') else service.host}:{port}"
    print_message(f"listening on {url}; loading the models")
    async with open_redis(service.redis_url) as client:
        while not (ready := [entry for entry in await Queue(client).workers.alive() if entry.ready]):
            await asyncio.sleep(POLL_S)
    print_message(f"ready: {', '.join(entry.bundle for entry in ready)} on {ready[0].device}. Restore a photo with\n")
    print_message(f'  curl -f -H "Accept: image/*" -F image=@photo.jpg {url}/restore -o restored.jpg\n')
    print_message(f"API documentation: {url}/docs. Press Ctrl-C to stop.")
    if open_page:
        webbrowser.open(f"{url}/docs")
