"""Builds the FastAPI application from its settings.  Importing this module opens and starts nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from jobs.blob_store import open_store
from jobs.queue import Queue, StorageLimits
from jobs.redis_client import open_redis
from service.authentication import Authenticator
from service.desk import Desk
from service.housekeeping import Housekeeping
from service.job_waiters import JobWaiters
from service.metrics import QueueCollector, RequestMetrics, serve_metrics
from service.problems import PROBLEM_TYPE, add_handlers, problem_response
from service.refusals import InternalError
from service.request_log import RequestLog
from service.routes import about, docs, events, health, images, jobs, restore
from service.settings import ServiceSettings
from service.store_probe import StoreProbe

DESCRIPTION = "Finds what is wrong with a photo and repairs it, one pass at a time."


class _Service(FastAPI):
    """FastAPI documents a response model as application/json; our problems are application/problem+json only."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        for methods in document["paths"].values():
            for route in methods.values():
                for response in route["responses"].values():
                    if PROBLEM_TYPE in response.get("content", {}):
                        response["content"].pop("application/json", None)
        return document


def create_app(settings: ServiceSettings) -> FastAPI:
    """Return the application.  Its lifespan opens Redis and the store, listens for job changes, and serves metrics."""
    registry = CollectorRegistry()
    app = _Service(
        title="undegrade",
        version=version("undegrade"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda app: _lifespan(app, settings, registry),
    )
    app.add_middleware(RequestLog, count=RequestMetrics(registry), internal_error=_internal_error)
    add_handlers(app)
    for module in (restore, jobs, images, events, about, health, docs):
        app.include_router(module.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: ServiceSettings, registry: CollectorRegistry) -> AsyncIterator[None]:
    redis = open_redis(settings.redis_url)
    store = open_store(settings.store_url, redis)
    storage = StorageLimits(
        max_bytes=settings.max_stored_bytes, max_owner_bytes=settings.max_stored_bytes_per_key,
        in_redis=store.beside_queue,
    )  # fmt: skip
    queue = Queue(redis, storage)
    waiters = JobWaiters(queue, settings.max_waits)
    registry.register(QueueCollector(queue, settings.bundle, asyncio.get_running_loop()))
    app.state.desk = Desk(settings, queue, store, waiters)
    app.state.authenticator = Authenticator(redis, settings.auth)
    app.state.listener = asyncio.create_task(waiters.listen())
    app.state.store_probe = StoreProbe(store)
    housekeeping = asyncio.create_task(Housekeeping(queue, store).run())
    try:
        async with serve_metrics(registry, settings.host, settings.metrics_port) as app.state.metrics_port:
            yield
    finally:
        waiters.close()
        for task in (app.state.listener, housekeeping):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await app.state.desk.close()
        await store.close()
        await redis.aclose()


def _internal_error(request_id: str) -> ASGIApp:
    return problem_response(InternalError("unexpected server error"), request_id)
