"""Ctrl-C and canceled tasks: nobody could fetch the result, so the job is canceled, wherever the call was."""

import asyncio

import httpx
import pytest

from undegrade_client import AsyncClient, Client


def states(service):
    return [job["status"] for job in service.client.get("/jobs").json()["jobs"]]


class Interrupting(httpx.HTTPTransport):
    """Raises KeyboardInterrupt once: in the request of this number, before it is sent or after it was answered."""

    def __init__(self, number: int, answered: bool) -> None:
        super().__init__()
        self.number, self.answered = number, answered

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.number -= 1
        if self.number == 0 and not self.answered:
            raise KeyboardInterrupt
        response = super().handle_request(request)
        if self.number == 0:
            response.close()
            raise KeyboardInterrupt
        return response


@pytest.mark.parametrize(("number", "answered"), [(1, False), (1, True), (2, False)])
def test_ctrl_c_cancels_the_job(service, picture, number, answered):
    with (
        httpx.Client(transport=Interrupting(number, answered)) as http,
        Client(service.url, http=http) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.restore(picture())  # no worker is there
    assert states(service) == ["canceled"]


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.01, 0.05, 0.3])
def test_a_canceled_task_cancels_its_job(service, picture, after_s):
    async def scenario():
        async with AsyncClient(service.url) as client:
            task = asyncio.create_task(client.restore(picture()))
            await asyncio.sleep(after_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
    assert set(states(service)) <= {"canceled"}


def test_a_job_that_was_submitted_is_not_canceled(service, picture):
    with Client(service.url) as client:
        client.submit(picture())
    assert states(service) == ["queued"]
