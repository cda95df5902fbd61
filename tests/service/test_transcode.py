"""Conversions: shared, bounded, cached for a while, and forgotten with their job."""

import asyncio
import io

import pytest
from PIL import Image

from service.refusals import Gone, NotAcceptable, TooManyConversions
from service.transcode import Conversion, Transcoder


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
