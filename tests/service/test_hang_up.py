"""Clients who hang up free their places at once, and bursts of clients wait for a connection instead of failing."""

import asyncio
import socket

import pytest

from service.hang_up import until_hang_up

REQUESTS = {
    "poll": ("GET", "/jobs/{job}?wait=60", b""),
    "events": ("GET", "/jobs/{job}/events", b""),
    "prefer": ("POST", "/restore", b"Prefer: wait=60\r\n"),
    "image": ("POST", "/restore", b"Accept: image/*\r\n"),
    "detect": ("POST", "/detect", b""),
}


def request(kind: str, job: str, body: bytes) -> bytes:
    method, path, headers = REQUESTS[kind]
    head = f"{method} {path.format(job=job)} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers
    if method == "GET":
        return head + b"\r\n"
    return head + b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_wait_ends_when_its_client_hangs_up(service, submitted, picture, kind, eventually):
    job, waiters = submitted()["id"], service.app.state.desk.waiters
    sockets = [socket.create_connection(("127.0.0.1", service.settings.port)) for _ in range(20)]
    for connection in sockets:
        connection.sendall(request(kind, job, picture()))
    eventually(lambda: waiters.count() == len(sockets))
    for connection in sockets:
        connection.close()
    eventually(lambda: waiters.count() == 0, deadline_s=10)


@pytest.mark.parametrize("swallowed", [0, 1, 3])
def test_a_wait_ends_whose_work_swallows_its_cancellation(swallowed):
    """redis-py does so while it connects; the wait then kept its place until its own end."""

    async def work() -> str:
        for left in range(swallowed, -1, -1):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if not left:
                    raise
        return "the client was gone"

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def scenario() -> None:
        async with asyncio.timeout(30):
            assert await until_hang_up(work(), receive, "hung up") == "hung up"
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


async def _answers(port: int, count: int, path: str) -> list[int]:
    """The statuses of simultaneous requests: all connect first."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]

    async def ask(reader, writer) -> int:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        return int(answer.split()[1])

    return await asyncio.gather(*(ask(*connection) for connection in connections))


def test_a_thousand_clients_at_once_are_answered(service, submitted):
    path = f"/jobs/{submitted()['id']}"
    assert asyncio.run(_answers(service.settings.port, 1000, path)) == [200] * 1000


def test_hundreds_of_waits_end_together(service, submitted, toy):
    worker = toy(hold=True)
    path = f"/jobs/{submitted()['id']}?wait=60"

    async def scenario():
        asking = asyncio.ensure_future(_answers(service.settings.port, 300, path))
        while service.app.state.desk.waiters.count() < 300:
            await asyncio.sleep(0.02)
        worker.go.set()
        return await asking

    assert asyncio.run(scenario()) == [200] * 300


def test_a_job_that_ended_before_the_wait_is_noticed_at_once(service, submitted, worker, eventually, monkeypatch):
    """The record was read before the wait was registered; nothing wakes this wait any more."""
    desk = service.app.state.desk
    monkeypatch.setattr("service.job_waiters.POLL_S", 3600)
    job = submitted()
    eventually(lambda: service.client.get(f"/jobs/{job['id']}").json()["status"] == "succeeded")
    record = service.queued()(lambda queue: queue.record(job["id"]))
    stale = record.model_copy(update={"state": "queued"})
    waited = asyncio.run_coroutine_threadsafe(desk.wait(stale, 3600), service.server._loop).result(20)
    assert waited.record.state == "succeeded"
