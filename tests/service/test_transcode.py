"""Conversions: shared, bounded, cached for a while, and forgotten with their job."""

import asyncio
import io
import socket

import pytest
from PIL import Image

from service.refusals import Gone, NotAcceptable
from service.transcode import PROCESSES, Conversion, TooManyConversions, Transcoder


class HeldPool:
    """Stands in for the processes: a call ends when `go` is set."""

    def __init__(self):
        self.go, self.calls = asyncio.Event(), 0

    async def run(self, action, data, kind, quality, limits, *, limit_s):
        self.calls += 1
        await self.go.wait()
        return data * 10

    async def close(self):
        self.go.set()


def conversion(number=1, job="a"):
    return Conversion(job_id=job, sha256="0", format="webp", quality=number)


async def load():
    return b"data"


def test_equal_requests_share_one_conversion_and_later_ones_its_file():
    async def run():
        pool = HeldPool()
        transcoder = Transcoder(_pool=pool)
        callers = [asyncio.create_task(transcoder.convert(conversion(), load)) for _ in range(5)]
        await asyncio.sleep(0.01)
        callers.pop().cancel()  # the others stay
        pool.go.set()
        assert set(await asyncio.gather(*callers)) == {b"data" * 10}
        assert await transcoder.convert(conversion(), load) == b"data" * 10
        assert pool.calls == 1

    asyncio.run(run())


def test_a_conversion_beyond_the_limit_is_refused_and_a_left_one_makes_room():
    async def run():
        transcoder = Transcoder(_pool=HeldPool(), max_conversions=3)
        callers = [asyncio.create_task(transcoder.convert(conversion(n), load)) for n in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(TooManyConversions) as refused:
            await transcoder.convert(conversion(9), load)
        assert refused.value.headers["Retry-After"]
        callers[0].cancel()
        await asyncio.sleep(0.01)
        transcoder._pool.go.set()
        assert await transcoder.convert(conversion(9), load)
        assert await asyncio.gather(*callers[1:])

    asyncio.run(run())


def test_a_request_that_waits_in_line_for_too_long_is_refused_and_a_running_one_is_not():
    async def run():
        pool = HeldPool()
        transcoder = Transcoder(_pool=pool, line_s=0.05)
        callers = [asyncio.create_task(transcoder.convert(conversion(n), load)) for n in range(PROCESSES + 2)]
        callers.append(asyncio.create_task(transcoder.convert(conversion(PROCESSES), load)))  # shares a waiting one
        answers = await asyncio.wait_for(asyncio.gather(*callers[PROCESSES:], return_exceptions=True), 30)
        assert [type(answer) for answer in answers] == [TooManyConversions] * 3
        assert all(answer.headers["Retry-After"] and "0.05 s" in answer.detail for answer in answers)
        assert pool.calls == len(transcoder._running) == PROCESSES, "they have left the line"
        pool.go.set()
        assert await asyncio.gather(*callers[:PROCESSES]) == [b"data" * 10] * PROCESSES

    asyncio.run(run())


@pytest.mark.parametrize("place", ["in line", "running"])
def test_a_client_that_hangs_up_leaves_at_once(place):
    async def run():
        pool, hung_up = HeldPool(), asyncio.Event()
        transcoder = Transcoder(_pool=pool)

        async def receive():
            await hung_up.wait()
            return {"type": "http.disconnect"}

        others = PROCESSES if place == "in line" else 0
        callers = [asyncio.create_task(transcoder.convert(conversion(n), load)) for n in range(others)]
        leaving = asyncio.create_task(transcoder.convert(conversion(9), load, receive))
        await asyncio.sleep(0.01)
        assert len(transcoder._running) == others + 1
        hung_up.set()
        with pytest.raises(Gone):
            await asyncio.wait_for(leaving, 30)
        assert len(transcoder._running) == others
        pool.go.set()
        await asyncio.gather(*callers)
        assert pool.calls == max(1, others), "nobody worked for the client that left the line"

    asyncio.run(run())


def test_a_refused_and_an_abandoned_conversion_over_http(service, worker, submitted, eventually, monkeypatch):
    transcoder, pool = service.app.state.transcoder, HeldPool()
    monkeypatch.setattr(transcoder, "_pool", pool)
    job = submitted(headers={"Prefer": "wait=20"})
    path = job["result"]["url"] + "?format=webp&quality="
    sockets = [socket.create_connection(("127.0.0.1", service.settings.port)) for _ in range(5)]
    for number, connection in enumerate(sockets, 1):
        connection.sendall(f"GET {path}{number} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    eventually(lambda: len(transcoder._running) == len(sockets))
    monkeypatch.setattr(transcoder, "line_s", 0.01)
    answer = service.client.get(f"{path}50")
    assert answer.status_code == 503 and answer.json()["code"] == "too-many-conversions"
    assert answer.headers["retry-after"] and "waited" in answer.json()["detail"]
    for connection in sockets:
        connection.close()
    eventually(lambda: not transcoder._running)  # the pool never answers: they left because their callers hung up


def test_the_kept_files_are_bounded_and_end_with_their_time():
    async def run():
        pool = HeldPool()
        pool.go.set()
        transcoder = Transcoder(_pool=pool, cache_bytes=100, cache_s=0.05)
        for number in range(4):  # of 40 bytes each
            await transcoder.convert(conversion(number), load)
        await transcoder.convert(conversion(3), load)
        assert pool.calls == 4 and len(transcoder._cache) == 2
        await asyncio.sleep(0.1)
        assert not transcoder._cache

    asyncio.run(run())


def test_a_deleted_job_is_forgotten():
    async def run():
        pool = HeldPool()
        transcoder = Transcoder(_pool=pool)
        caller = asyncio.create_task(transcoder.convert(conversion(), load))
        await asyncio.sleep(0.01)
        transcoder.forget("a")
        with pytest.raises(Gone):
            await caller
        pool.go.set()
        await transcoder.convert(conversion(2), load)
        transcoder.forget("a")
        assert not transcoder._cache and not transcoder._running

    asyncio.run(run())


def test_a_picture_process_converts_and_reports_errors():
    async def run():
        transcoder = Transcoder()
        target = io.BytesIO()
        Image.new("RGB", (8, 8), "teal").save(target, "png")

        async def stored():
            return target.getvalue()

        async def damaged():
            return b"nothing"

        try:
            data = await transcoder.convert(conversion(), stored)
            assert Image.open(io.BytesIO(data)).format == "WEBP"
            with pytest.raises(NotAcceptable):
                await transcoder.convert(conversion(2), damaged)
        finally:
            await transcoder.close()

    asyncio.run(run())
