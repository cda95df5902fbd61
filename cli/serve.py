"""`undegrade serve`: everything on one machine with one command: API, embedded Valkey, one worker."""

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
from cli.api import Host, Port, ensure_bindable, service_settings
from cli.console import Exit, complain, say, sentences, warn
from cli.embedded_redis import EmbeddedRedis, ServerError, default_folder, dying_with_us
from cli.settings import settings
from cli.worker import Bundles, found_bundles, log_as_json

if TYPE_CHECKING:
    from service.settings import ServiceSettings

POLL_S = 0.2
WORKER_END_S = 10.0
"""Beyond the grace, for the engine to end."""


def serve(
    host: Host = None,
    port: Port = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    bundle: Bundles = None,
    redis_url: Annotated[str | None, typer.Option(help="Use this Redis instead of an embedded one.")] = None,
    data: Annotated[Path | None, typer.Option(help="The embedded server's folder.")] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the API's page in a browser.")] = False,
) -> None:
    """Serve restoration over HTTP on this machine: API, queue and one worker, which all end with this command.

    Example: undegrade serve --port 8000 --bundle autodir-small --bundle daclip-small
    """
    code = Exit.OK
    with sentences():
        told = settings()
        folders = found_bundles(bundle or told.served)
        said = service_settings(told, host=host, port=port, bundle=next(iter(folders)))
        served = ",".join(str(folder) for folder in folders.values())
        os.environ.update(UNDEGRADE_DEVICE=device or told.device, UNDEGRADE_BUNDLE=served)
        try:
            if outside := redis_url or os.environ.get("UNDEGRADE_REDIS_URL"):
                code = _serve(replace(said, redis_url=outside), None, open_page)
            else:
                place = data or (Path(told.data) if told.data else default_folder(said.port))
                with EmbeddedRedis(place) as redis:
                    code = _serve(replace(said, redis_url=redis.url), redis, open_page)
        except ServerError as error:
            complain(str(error))
            code = Exit.SERVER
    if code:
        raise typer.Exit(code)


def _serve(said: "ServiceSettings", redis: EmbeddedRedis | None, open_page: bool) -> Exit:
    ensure_bindable(said)
    worker = _Worker(said)
    worker.start()
    try:
        return event_loop.run(_answer(said, redis, worker, open_page))
    finally:
        worker.stop()


class _Worker:
    """The worker's process; started again when it dies of something that is not its models' or its device's fault."""

    def __init__(self, said: "ServiceSettings") -> None:
        self.said = said
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "cli", "worker", "--redis-url", self.said.redis_url, "--store-url",
                 self.said.store_url]  # fmt: skip
        env = {name: value for name, value in os.environ.items() if name != "UNDEGRADE_METRICS_PORT"}  # it is the API's
        # Its own session: Ctrl-C is ours, and it drains when we say so
        self.process = subprocess.Popen(
            words, env=env, start_new_session=True, preexec_fn=dying_with_us(signal.SIGKILL)
        )  # fmt: skip

    def died(self) -> int | None:
        """The exit code, None while it runs."""
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


async def _answer(said: "ServiceSettings", redis: EmbeddedRedis | None, worker: _Worker, open_page: bool) -> Exit:
    """Run the API until a signal, or until the worker says that it can never work."""
    from service.app import create_app
    from service.server import server_for

    log_as_json()
    server = server_for(create_app(said), said)
    watching = asyncio.create_task(_watch(server, redis, worker))
    telling = asyncio.create_task(_tell(server, said, open_page))
    try:
        await server.serve()
    except SystemExit:
        if server.started:  # a signal: uvicorn repeats it after it has closed
            return Exit.OK
        complain(f"cannot listen on {said.host}:{said.port}; is another program there? Try --port 0")
        return Exit.SERVER
    finally:
        watching.cancel()
        telling.cancel()
        ended = await asyncio.gather(watching, telling, return_exceptions=True)
    return ended[0] if isinstance(ended[0], Exit) else Exit.OK


async def _watch(server: "object", redis: EmbeddedRedis | None, worker: _Worker) -> Exit:
    """Keep the queue and the worker alive beside the API."""
    pause_s = 1.0
    while True:
        await asyncio.sleep(POLL_S)
        if redis is not None and not redis.running():
            warn("the embedded Valkey has ended; starting it again, its data are on disk")
            await asyncio.to_thread(redis.start)
        code = worker.died()
        if code is None:
            continue
        if code in (Exit.MODEL, Exit.DEVICE, Exit.USAGE):
            complain("the worker cannot work; see above")
            server.should_exit = True  # type: ignore[attr-defined]
            return Exit(code)
        warn(f"the worker has ended with code {code}; starting another in {pause_s:.0f} s")
        await asyncio.sleep(pause_s)
        pause_s = min(30.0, 2 * pause_s)
        worker.start()


async def _tell(server: "object", said: "ServiceSettings", open_page: bool) -> None:
    """Print where it is and how to use it, once a photo can be restored."""
    from redis.asyncio import Redis

    from jobs.queue import Queue

    while not server.started:  # type: ignore[attr-defined]
        await asyncio.sleep(POLL_S)
    port = server.servers[0].sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    url = f"http://{'127.0.0.1' if said.host in ('0.0.0.0', '::') else said.host}:{port}"
    say(f"listening on {url}; the models are loading")
    async with Redis.from_url(said.redis_url) as client:
        while not (ready := [entry for entry in await Queue(client).workers.alive() if entry.ready]):
            await asyncio.sleep(POLL_S)
    say(f"ready: {', '.join(entry.bundle for entry in ready)} on {ready[0].device}. Restore a photo with\n")
    say(f'  curl -f -H "Accept: image/*" -F image=@photo.jpg {url}/restore -o restored.jpg\n')
    say(f"docs: {url}/docs   end: Ctrl-C")
    if open_page:
        webbrowser.open(f"{url}/docs")
