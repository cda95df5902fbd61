"""Tasks that run beside a loop and are canceled with it."""

import asyncio
from collections.abc import Awaitable

from jobs.end_tasks import end_tasks


class BackgroundTasks:
    """Keeps a reference to each running task, as asyncio asks for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """Cancel all tasks and wait for their end."""
        await end_tasks(*self._tasks)
