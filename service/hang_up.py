"""Ends a wait when its client hangs up: an abandoned wait must not keep a place that others need."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from jobs.end_tasks import end_tasks

T = TypeVar("T")


async def until_hang_up(work: Coroutine[Any, Any, T], receive: Receive | None, otherwise: T) -> T:
    """Return the result of `work`; cancel it and return `otherwise` as soon as the client has hung up.

    Args:
        receive: of the request, whose body has been read; None where the client cannot hang up.
    """
    if receive is None:
        return await work
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else otherwise
    finally:
        await end_tasks(working, leaving)  # a work that reads Redis may swallow its first cancellation


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
