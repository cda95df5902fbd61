"""Tasks end although a library swallows their cancellation, as redis-py does while it connects."""

import asyncio
import itertools
import json

import pytest

from jobs.end_tasks import end_tasks, run_together


async def stubborn(swallowed: int, seen: list[str]) -> None:
    """Works for ever; the first `swallowed` cancellations have no effect."""
    for number in itertools.count():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if number >= swallowed:
                seen.append("ended")
                raise


def run(test) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(limited())


@pytest.mark.parametrize("swallowed", [(0, 0), (1, 0), (0, 3), (2, 1)], ids=json.dumps)
def test_every_task_has_ended_whatever_it_swallows(swallowed):
    async def test() -> None:
        seen: list[str] = []
        tasks = [asyncio.create_task(stubborn(number, seen)) for number in swallowed]
        await asyncio.sleep(0)
        await end_tasks(*tasks)
        assert all(task.done() for task in tasks) and len(seen) == len(swallowed)

    run(test)


@pytest.mark.parametrize("swallowed", [(0, 0), (1, 0), (0, 3), (2, 1)], ids=json.dumps)
def test_works_that_run_together_end_together(swallowed):
    """With asyncio.gather alone, the one that swallows its cancellation goes on after the others have ended."""

    async def test() -> None:
        seen: list[str] = []
        together = asyncio.create_task(run_together(*(stubborn(number, seen) for number in swallowed)))
        await asyncio.sleep(0.01)
        await end_tasks(together)
        assert len(seen) == len(swallowed) and asyncio.all_tasks() == {asyncio.current_task()}

    run(test)


def test_the_failure_of_one_work_ends_the_others_and_is_raised():
    async def fails() -> None:
        raise OSError("gone")

    async def test() -> None:
        seen: list[str] = []
        with pytest.raises(OSError, match="gone"):
            await run_together(stubborn(1, seen), fails())
        assert seen == ["ended"]

    run(test)


def test_a_cancellation_of_the_caller_arrives_after_the_tasks_have_ended():
    async def test() -> None:
        seen: list[str] = []
        task = asyncio.create_task(stubborn(2, seen))
        ending = asyncio.create_task(end_tasks(task))
        await asyncio.sleep(0.01)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert seen == ["ended"]

    run(test)


def test_the_error_of_a_task_is_not_reported_by_asyncio_as_overlooked():
    async def test() -> None:
        reports: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

        async def fails() -> None:
            raise OSError("gone")

        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
        await end_tasks(task)
        del task
        await asyncio.sleep(0)
        assert not reports

    run(test)
