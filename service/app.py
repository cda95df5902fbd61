"""The composition: settings in, a FastAPI application out.  Importing it opens nothing and starts nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from starlette.types import ASGIApp

from jobs.queue import Queue
from jobs.store import open_store
from service.authentication import Gate
from service.desk import Desk
from service.job_waiters import Wakes
from service.metrics import QueueCollector, RequestCounts, served
from service.problems import PROBLEM_TYPE, add_handlers, problem_response
from service.refusals import Crashed
from service.request_log import Access
from service.routes import about, docs, events, health, images, jobs, restore
from service.settings import ServiceSettings

DESCRIPTION = "Finds what is wrong with a photo and repairs it, step by step."


class _Service(FastAPI):
    """FastAPI documents a refusal's model as application/json; ours are problems, and nothing else."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        for methods in document["paths"].values():
            for route in methods.values():
                for answer in route["responses"].values():
                    if PROBLEM_TYPE in answer.get("content", {}):
                        answer["content"].pop("application/json", None)
        return document


def create_app(settings: ServiceSettings) -> FastAPI:
    """The service; its lifespan opens Redis and the store, listens for changes, and serves the metrics."""
    registry = CollectorRegistry()
    app = _Service(
        title="undegrade",
        version=version("undegrade"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda app: _open(app, settings, registry),
    )
    app.add_middleware(Access, count=RequestCounts(registry), crash=_crash)
    add_handlers(app)
    for room in (restore, jobs, images, events, about, health, docs):
        app.include_router(room.router)
    return app


@asynccontextmanager
async def _open(app: FastAPI, settings: ServiceSettings, registry: CollectorRegistry) -> AsyncIterator[None]:
    redis = open_redis(settings.redis_url)
    store = open_store(settings.store_url, redis)
    queue = Queue(redis)
    wakes = Wakes(queue, settings.most_waits)
    registry.register(QueueCollector(queue, settings.bundle, asyncio.get_running_loop()))
    app.state.desk = Desk(settings, queue, store, wakes)
    app.state.gate = Gate(redis, settings.auth)
    app.state.listener = asyncio.create_task(wakes.listen())
    try:
        async with served(registry, settings.host, settings.metrics_port) as app.state.metrics_port:
            yield
    finally:
        wakes.close()
        app.state.listener.cancel()
        with suppress(asyncio.CancelledError):
            await app.state.listener
        await store.close()
        await redis.aclose()


def open_redis(url: str) -> "Redis":
    """A client that gives up soon: the caller is told within a second or two rather than kept waiting."""
    return Redis.from_url(
        url, socket_timeout=5.0, socket_connect_timeout=2.0, retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
    )


def _crash(request_id: str) -> ASGIApp:
    return problem_response(Crashed("something went wrong that nobody thought of"), request_id)
