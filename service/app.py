"""Builds the FastAPI application from its settings.  Importing this module opens and starts nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from jobs.end_tasks import end_tasks
from jobs.tracing.spans import NO_TRACER, Tracer
from service.authentication import Authenticator
from service.backend import Backend, open_backend
from service.desk import Desk
from service.direct_uploads import DirectUploads
from service.forwarded import ForwardedHeaders, TrustedProxies
from service.image_fetch import ImageFetch, client_for
from service.job_waiters import JobWaiters
from service.limits.headers import RateLimitHeaders
from service.limits.refusal_counter import count_refusals
from service.limits.request_limits import RequestLimits
from service.metrics import RequestMetrics, serve_metrics
from service.openapi import completed
from service.origins import OriginGuard
from service.problems import add_handlers, refused
from service.proxies import HeadAsGet, RootPath
from service.queue_metrics import QueueCollector
from service.refusals import InternalError
from service.request_log import RequestLog
from service.routes import (
    about,
    admin,
    batches,
    deliveries,
    docs,
    estimate,
    events,
    health,
    images,
    jobs,
    page,
    restore,
    retries,
    uploads,
)
from service.settings import ServiceSettings
from service.store_probe import StoreProbe
from service.transcode import Transcoder

NO_TELEMETRY: Any = {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}
"""FastAPI's own telemetry would send queries, and with them prompts, to the collector."""
DESCRIPTION = "Finds what is wrong with a photo and repairs it, one pass at a time."


class _Service(FastAPI):
    """The application, with a completed OpenAPI document."""

    key_optional = False

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi(), self.key_optional)
        return self.openapi_schema


def create_app(settings: ServiceSettings, tracer: Tracer = NO_TRACER) -> FastAPI:
    """Return the application.  Its lifespan opens Redis and the store, listens for job changes, and serves metrics."""
    registry = CollectorRegistry()
    app = _Service(
        title="undegrade",
        version=version("undegrade"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_name_of,
        servers=[{"url": settings.root_path or "/"}],
        telemetry=NO_TELEMETRY,
        lifespan=lambda app: _lifespan(app, settings, registry),
    )
    app.key_optional = settings.auth != "on"
    proxies = TrustedProxies(settings.trusted_proxies)
    # The last one comes first
    app.add_middleware(RateLimitHeaders)
    app.add_middleware(OriginGuard, settings=settings, needs_no_key=lambda: app.state.authenticator.needs_no_key())
    app.add_middleware(
        RequestLog, count=RequestMetrics(registry), internal_error=_internal_error, access_log=settings.access_log,
        tracer=tracer,
    )  # fmt: skip
    app.add_middleware(HeadAsGet)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies.for_uvicorn)
    app.add_middleware(RootPath, root_path=settings.root_path, proxies=proxies)
    app.add_middleware(ForwardedHeaders, proxies=proxies)
    add_handlers(app)
    count_refusals(app, registry)
    app.router.routes.extend(_api().routes)
    if settings.page:
        app.include_router(page.router)
        app.router.routes.append(page.RootPathWithoutSlash())
    return app


def _name_of(route: APIRoute) -> str:
    return route.name


@cache
def _api() -> APIRouter:
    """Return the routes, which all applications of a process share: FastAPI analyzes them only once."""
    router = APIRouter(generate_unique_id_function=_name_of)
    for module in (
        restore, uploads, jobs, retries, batches, estimate, deliveries, images, events, about, admin, health, docs
    ):  # fmt: skip
        router.include_router(module.router)
    return router


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: ServiceSettings, registry: CollectorRegistry) -> AsyncIterator[None]:
    async with open_backend(settings) as backend, _parts(app, settings, registry, backend):
        yield


@asynccontextmanager
async def _parts(
    app: FastAPI, settings: ServiceSettings, registry: CollectorRegistry, backend: Backend
) -> AsyncIterator[None]:
    """Make the parts of the application on its backend."""
    queue, store = backend.queue, backend.store
    app.state.shards = backend.shards
    waiters = JobWaiters(queue, settings.max_waits)
    registry.register(QueueCollector(queue, store, settings, asyncio.get_running_loop(), backend.shards))
    app.state.desk = Desk(settings, queue, store, waiters)
    app.state.authenticator = Authenticator(backend.keys, settings.auth, settings.quotas)
    app.state.request_limits = RequestLimits(queue.quotas)
    app.state.transcoder = Transcoder()
    app.state.images = ImageFetch(
        settings, DirectUploads(settings, backend.uploads, store, queue.place), client_for(settings)
    )
    app.state.listener = asyncio.create_task(waiters.listen())
    app.state.store_probe = StoreProbe(store)
    housekeeping = asyncio.create_task(backend.keep_house(app.state.desk.eraser))
    renewal = asyncio.create_task(app.state.desk.wait_slots.renew())
    try:
        async with serve_metrics(registry, settings.host, settings.metrics_port) as app.state.metrics_port:
            yield
    finally:
        waiters.close()
        await end_tasks(app.state.listener, housekeeping, renewal)
        await app.state.transcoder.close()
        app.state.images.close()
        await app.state.desk.close()
        await app.state.authenticator.close()


def _internal_error(scope: Scope) -> ASGIApp:
    return refused(scope, InternalError("unexpected server error"))
