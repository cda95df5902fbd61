"""Decoding and encoding in processes that may die.  Each pool here is one process, so that it is known who dies."""

import asyncio
import io
import os
import signal
import time

import numpy as np
import pytest
import uvloop
from PIL import Image

from models.errors import PhotoError
from models.photo.read import Limits, Photo
from worker.codec import Pictures, TooHard, started

PIXELS = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3).astype(np.uint8)


def png(pixels=PIXELS, **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", **options)
    return data.getvalue()


def run(scenario, **said):
    async def main():
        pictures = Pictures(**{"workers": 1, **said})
        try:
            return await asyncio.wait_for(scenario(pictures), 120)
        finally:
            await pictures.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the worker's
        return runner.run(main())


def die() -> None:
    """Runs in the pool, as a decoder that a file kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    """Runs in the pool; survives the second time, as a neighbor of the file that kills would."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def short_of_memory() -> None:
    """Runs in the pool."""
    bytearray(1 << 44)


def test_a_photo_is_decoded():
    photo = run(lambda pictures: pictures.decode(png()))
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert photo.format == "png"


def test_what_is_no_photo_is_said_to_be_none_and_the_next_is_decoded():
    async def scenario(pictures):
        for data in (b"", b"not a photo", png()[:-200]):
            with pytest.raises(PhotoError):
                await pictures.decode(data)
        return await pictures.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_the_limits_are_kept():
    async def scenario(pictures):
        with pytest.raises(PhotoError):
            await pictures.decode(png())

    run(scenario, limits=Limits(pixels=48 * 64 - 1))


def test_a_decoder_that_dies_of_a_file_fails_that_file_alone():
    async def scenario(pictures):
        with pytest.raises(TooHard):
            await pictures._run(die)
        return await pictures.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_files_beside_the_one_that_kills_are_decoded_all_the_same():
    async def scenario(pictures):
        answers = await asyncio.gather(
            *(pictures.decode(png()) for _ in range(3)),
            pictures._run(die),
            *(pictures.decode(png()) for _ in range(3)),
            return_exceptions=True,
        )
        assert isinstance(answers.pop(3), TooHard)
        return answers

    for photo in run(scenario):
        np.testing.assert_array_equal(photo.pixels, PIXELS)


def test_a_file_whose_decoder_was_killed_by_another_is_tried_again(tmp_path):
    """SIGKILL comes from outside, as the kernel's out-of-memory killer sends it."""
    assert run(lambda pictures: pictures._run(die_once, str(tmp_path / "marker"))) == "survived"


def test_a_pool_that_was_killed_while_idle_is_replaced():
    async def scenario(pictures):
        await pictures.warm()
        (pid,) = pictures._pool.pids
        os.kill(pid, signal.SIGKILL)
        return await pictures.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_a_file_that_needs_more_memory_than_there_is_fails_alone():
    async def scenario(pictures):
        with pytest.raises(TooHard, match="memory"):
            await pictures._run(short_of_memory)
        return await pictures.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_a_large_picture_under_a_small_memory_limit_is_refused_and_a_small_one_is_not():
    large = png(np.zeros((12_000, 12_000, 3), np.uint8), compress_level=1)

    async def scenario(pictures):
        with pytest.raises((PhotoError, TooHard)):
            await pictures.decode(large)
        return await pictures.decode(png())

    photo = run(scenario, memory_bytes=1 << 30, limits=Limits(pixels=200_000_000))
    np.testing.assert_array_equal(photo.pixels, PIXELS)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_a_file_that_loses_nothing(kind, dtype):
    pixels = (PIXELS.astype(np.uint32) * (257 if dtype is np.uint16 else 1)).astype(dtype)
    photo = Photo(pixels=np.zeros_like(pixels), format="png")

    async def scenario(pictures):
        data, said = await pictures.encode(photo, pixels, kind)
        return said, await pictures.decode(data)

    said, read = run(scenario)
    assert said == read.format == kind
    np.testing.assert_array_equal(read.pixels, pixels)
    assert read.pixels.dtype == dtype


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_pixels_survive_other_files_nearly(kind):
    ramp = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (48, 64, 3)).copy()

    async def scenario(pictures):
        data, _ = await pictures.encode(Photo(pixels=ramp, format=kind), ramp, None, 95)
        return await pictures.decode(data)

    read = run(scenario)
    assert read.format == kind
    assert np.abs(read.pixels.astype(int) - ramp).mean() < 3


@pytest.mark.parametrize("metadata", [True, False])
def test_what_a_file_says_besides_is_kept_when_it_is_wanted(metadata):
    exif = Image.Exif()
    exif[0x010F] = "a camera"

    async def scenario(pictures):
        photo = await pictures.decode(png(exif=exif.tobytes()))
        data, _ = await pictures.encode(photo, photo.pixels, None, None, metadata)
        return data

    with Image.open(io.BytesIO(run(scenario))) as image:
        assert image.getexif().get(0x010F) == ("a camera" if metadata else None)


def test_a_small_picture_is_written_without_a_process_and_a_larger_one_with():
    async def scenario(pictures):
        small, large = (np.zeros((side, side, 3), np.uint8) for side in (128, 129))
        for pixels, processes in ((small, 0), (large, 1)):
            data, kind = await pictures.encode(Photo(pixels=pixels, format="png"), pixels)
            assert kind == "png" and Image.open(io.BytesIO(data)).size == pixels.shape[:2]
            assert len(pictures._pool.pids) == processes

    run(scenario)


def test_what_a_format_cannot_keep_is_warned_of():
    photo = Photo(pixels=PIXELS.astype(np.uint16), format="png", warnings=("an old one",))

    async def scenario(pictures):
        return pictures.warnings(photo, "jpeg"), pictures.warnings(photo, None)

    to_jpeg, to_png = run(scenario)
    assert to_jpeg[0] == "an old one" and len(to_jpeg) == 2
    assert to_png == ("an old one",)


def test_warming_starts_each_process():
    async def scenario(pictures):
        await pictures.warm()
        return len(pictures._pool.pids)

    assert run(scenario, workers=2) == 2
    assert started() is None


def test_a_death_costs_its_own_process_only(tmp_path):
    async def scenario(pictures):
        pids = set()
        for i in range(4):
            with pytest.raises(TooHard):
                await pictures._run(die_once_then_want_memory, str(tmp_path / f"marker{i}"))
            pids.add(await pictures._run(os.getpid))
        return pids

    assert len(run(scenario)) == 4, "a fresh process after each death"


def test_a_caller_that_leaves_does_not_confuse_the_next():
    async def scenario(pictures):
        await pictures.warm()
        leaving = asyncio.ensure_future(pictures._run(slowly, "the answer to one who left"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        return await pictures._run(slowly, "mine")

    assert run(scenario) == "mine"


@pytest.mark.parametrize("side", [150, 500, 1300])
def test_pictures_of_any_size_pass_often(side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)

    async def scenario(pictures):
        for _ in range(10):
            photo = await pictures.decode(png(pixels, compress_level=0))
        photo = await pictures.decode(png(pixels))
        data, _ = await pictures.encode(photo, photo.pixels)
        return (await pictures.decode(data)).pixels

    np.testing.assert_array_equal(run(scenario), pixels)


def slowly(answer: str) -> str:
    """Runs in the pool."""
    time.sleep(0.3)
    return answer


def die_once_then_want_memory(marker: str) -> None:
    """Runs in the pool."""
    die_once(marker)
    short_of_memory()
