"""`undegrade health`: is a part of the service that runs on this machine ready?  For the health checks of containers.

A worker has no HTTP port that must be there, so its answer is what it announces in Redis; all workers of the host name
count.  In a container that is the one worker of the container.
"""

import asyncio
import http.client
import json
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from redis.exceptions import RedisError

from cli.console import print_error, print_message
from cli.exit_codes import ExitCode, exit_on_error
from cli.listening import bare_host, reachable_host, url_of
from cli.options import RedisUrl
from cli.server_urls import checked_redis_url
from cli.servers import open_servers, queue_of, refresh
from cli.settings import settings
from jobs.shards.urls import shown_urls

MAX_ANSWER_BYTES = 1 << 20


class Part(StrEnum):
    API = "api"
    WORKER = "worker"
    WEBHOOKS = "webhooks"


class Unhealthy(Exception):
    """Why a part is not ready, in a sentence."""


def health(
    part: Annotated[Part, typer.Argument(help="api, worker or webhooks, on this machine or in this container.")],
    live: Annotated[
        bool,
        typer.Option("--live", help="Ask whether the part is alive. A part that waits for another one is alive."),
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds to wait for an answer.")] = 5.0,
    host: Annotated[
        str | None, typer.Option(help="Address that the API listens on. Default: UNDEGRADE_HOST, or else 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port that the API listens on. Default: UNDEGRADE_PORT, or else 8000."),
    ] = None,
    unix_socket: Annotated[
        Path | None,
        typer.Option(help="Unix socket that the API listens on. Default: UNDEGRADE_UNIX_SOCKET, if set."),
    ] = None,
    redis_url: RedisUrl = None,
) -> None:
    """Tell whether a part of this machine is ready: exit code 0 if it is, else 1 and the reasons.

    Examples:

      undegrade health api

      undegrade health worker --redis-url redis://queue:6379/0
    """
    with exit_on_error():
        env = settings()
        try:
            if part is Part.API:
                path = unix_socket or (
                    Path(env.unix_socket) if env.unix_socket and host is None and port is None else None
                )
                answer = _api(bare_host(host or env.host), env.port if port is None else port, path, live, timeout)
            elif part is Part.WEBHOOKS:
                answer = asyncio.run(_webhooks(checked_redis_url(redis_url or env.redis_url), live, timeout))
            else:
                answer = asyncio.run(_worker(checked_redis_url(redis_url or env.redis_url), live, timeout))
        except Unhealthy as why:
            _fail(str(why))
    print_message(answer)


def _fail(why: str) -> NoReturn:
    print_error(why)
    raise typer.Exit(ExitCode.SOME_FAILED)  # 1: Docker reserves 2, and knows no other code


def _api(host: str, port: int, unix_socket: Path | None, live: bool, timeout_s: float) -> str:
    """Ask the API's own probe: it takes jobs and returns results without a worker, which has a check of its own.

    Raises:
        Unhealthy: it does not answer, or names reasons.
    """
    url, path = str(unix_socket or url_of(host, port)), "/livez" if live else "/readyz?exclude=worker"
    if unix_socket:
        connection: http.client.HTTPConnection = _UnixConnection(unix_socket, timeout_s)
    else:
        connection = http.client.HTTPConnection(reachable_host(host), port, timeout=timeout_s)  # never through a proxy
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        status, body = response.status, response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        where = "socket" if unix_socket else "host and port"
        raise Unhealthy(f"{url}{path} does not answer: {cause}. Is the API running, on this {where}?") from error
    finally:
        connection.close()
    if status != 200:
        raise Unhealthy(f"the API at {url} is not {'alive' if live else 'ready'}: {_reasons(status, body)}")
    return f"the API at {url} is {'alive' if live else 'ready'}"


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def _reasons(status: int, body: bytes) -> str:
    try:
        reasons = json.loads(body)["reasons"]
        return "; ".join(map(str, reasons)) or f"status {status}"
    except (ValueError, KeyError, TypeError):
        return f"status {status}. Another program may have this port."


async def _worker(url: str, live: bool, timeout_s: float) -> str:
    """Look up the workers of this host name.  Raises Unhealthy."""
    host = socket.gethostname()
    try:
        async with asyncio.timeout(timeout_s), open_servers(url, answer_s=timeout_s, retries=0) as client:
            await refresh(client)
            workers = [worker for worker in await queue_of(client).workers.alive() if worker.host == host]
    except (RedisError, OSError, TimeoutError) as error:
        if live:  # a restart of the worker would not bring Redis back
            return f"Redis at {shown_urls(url)} does not answer, so nothing is known against the worker"
        cause = str(error).rstrip(".") or type(error).__name__
        raise Unhealthy(f"Redis at {shown_urls(url)} does not answer: {cause}. Give --redis-url.") from error
    if not workers:
        raise Unhealthy(f"no worker of the host {host} is announced in Redis. Is one running, with this Redis?")
    waiting = [worker for worker in workers if not worker.ready and not live]
    if waiting:
        reasons = sorted({f"{worker.bundle}: {worker.reason or 'not ready'}" for worker in waiting})
        raise Unhealthy(f"the worker of the host {host} is not ready: {'; '.join(reasons)}")
    return f"the worker of the host {host} is {'alive' if live else 'ready'}"


async def _webhooks(url: str, live: bool, timeout_s: float) -> str:
    """Look up the webhook process of this host name.  Raises Unhealthy."""
    from jobs.deliveries import Outbox

    host = socket.gethostname()
    try:
        async with asyncio.timeout(timeout_s), open_servers(url, answer_s=timeout_s, retries=0) as client:
            await refresh(client)
            parts = queue_of(client).parts()
            alive = any([await Outbox(part.redis).is_process_alive(host) for part in parts])
    except (RedisError, OSError, TimeoutError) as error:
        if live:
            return f"Redis at {shown_urls(url)} does not answer, so nothing is known against the webhook process"
        cause = str(error).rstrip(".") or type(error).__name__
        raise Unhealthy(f"Redis at {shown_urls(url)} does not answer: {cause}. Give --redis-url.") from error
    if not alive:
        raise Unhealthy(f"no webhook process of the host {host} is announced in Redis. Is one running?")
    return f"the webhook process of the host {host} is {'alive' if live else 'ready'}"
