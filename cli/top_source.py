"""Where `top` reads: the API, with a key, or Redis itself.  Both give the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from cli.servers import queue_of, refresh
from jobs.overview import take_overview
from service.system_view import worker_bodies

TIMEOUT_S = 10.0
KEY_HINT = "Set UNDEGRADE_API_KEY, or give --key; `undegrade keys create NAME --admin` makes an admin key"


class SourceAway(Exception):
    """The source does not answer; `final`: and never will, such as for a wrong key."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The rows of jobs.overview.LaneView and service.system_view.WorkerBody, as JSON has them."""

    lanes: Sequence[Mapping[str, Any]]
    workers: Sequence[Mapping[str, Any]]


class Source(Protocol):
    """Reads one snapshot after another.

    `read` raises SourceAway.
    """

    place: str

    async def read(self) -> Snapshot: ...


class RedisSource:
    """Reads Redis."""

    def __init__(self, client: "Redis", place: str) -> None:
        self.client, self.queue, self.place = client, queue_of(client), place

    async def read(self) -> Snapshot:
        try:
            await refresh(self.client)
            overview = await take_overview(self.queue)
        except (RedisError, OSError) as error:
            raise SourceAway(f"Redis does not answer: {str(error).rstrip('.') or type(error).__name__}") from error
        return Snapshot(
            lanes=[lane.model_dump(mode="json") for lane in overview.lanes],
            workers=[worker.model_dump(mode="json") for worker in worker_bodies(overview.workers)],
        )


class ApiSource:
    """Reads the API, as an async context manager."""

    def __init__(self, url: str, key: str | None) -> None:
        self.place = url
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_S)

    async def __aenter__(self) -> "ApiSource":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def read(self) -> Snapshot:
        return Snapshot(lanes=(await self._get("/queue"))["lanes"], workers=await self._get("/workers"))

    async def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        try:
            answer = await self._client.get(path)
        except httpx.HTTPError as error:
            raise SourceAway(f"{self.place} does not answer: {str(error) or type(error).__name__}") from error
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.is_success and body is not None:
            return body
        problem = body if isinstance(body, dict) else {}
        detail = problem.get("detail") or f"got status {answer.status_code} from {path}: is this the API of undegrade?"
        hint = KEY_HINT if answer.status_code in (401, 403) else problem.get("hint", "")
        raise SourceAway(f"{self.place}: {detail}. {hint}".rstrip(". "), final=answer.status_code < 500)
