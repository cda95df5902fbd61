"""Decoding and encoding in processes that may die.  Each pool here has one process, so the test knows which dies."""

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
from models.photo.codec_pool import CodecFailed, CodecOutOfMemory, CodecPool, DecodeTooSlow, import_codec
from models.photo.read import Limits, Photo

PIXELS = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3).astype(np.uint8)


def png(pixels=PIXELS, **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", **options)
    return data.getvalue()


def run(scenario, **options):
    async def main():
        codec = CodecPool(**{"workers": 1, **options})
        try:
            return await asyncio.wait_for(scenario(codec), 120)
        finally:
            await codec.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the worker's
        return runner.run(main())


def die() -> None:
    """Runs in the pool, as a decoder that a file kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: str) -> str:
    """Runs in the pool; dies the first time only, as a call whose process another call killed."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def short_of_memory() -> None:
    """Runs in the pool."""
    bytearray(1 << 44)


def test_a_photo_is_decoded():
    photo = run(lambda codec: codec.decode(png()))
    np.testing.assert_array_equal(photo.pixels, PIXELS)
    assert photo.format == "png"


def test_a_file_that_is_not_a_photo_is_refused_and_the_next_is_decoded():
    async def scenario(codec):
        for data in (b"", b"not a photo", png()[:-200]):
            with pytest.raises(PhotoError):
                await codec.decode(data)
        return await codec.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_a_photo_over_the_limits_is_refused():
    async def scenario(codec):
        with pytest.raises(PhotoError):
            await codec.decode(png())

    run(scenario, limits=Limits(pixels=48 * 64 - 1))


def test_a_decoder_that_dies_of_a_file_fails_that_file_alone():
    async def scenario(codec):
        with pytest.raises(CodecFailed):
            await codec._run(die)
        return await codec.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_a_file_that_takes_too_long_is_refused_in_its_own_way_and_is_not_tried_again():
    """The limit is shorter than the start of a process, so any file takes too long."""

    async def scenario(codec):
        with pytest.raises(DecodeTooSlow, match=r"0\.01 s"):
            await codec.decode(png())
        codec.decode_s = 60
        return await codec.decode(png())

    np.testing.assert_array_equal(run(scenario, decode_s=0.01).pixels, PIXELS)


def test_files_beside_the_one_that_kills_its_decoder_are_decoded():
    async def scenario(codec):
        answers = await asyncio.gather(
            *(codec.decode(png()) for _ in range(3)),
            codec._run(die),
            *(codec.decode(png()) for _ in range(3)),
            return_exceptions=True,
        )
        assert isinstance(answers.pop(3), CodecFailed)
        return answers

    for photo in run(scenario):
        np.testing.assert_array_equal(photo.pixels, PIXELS)


def test_a_file_whose_decoder_was_killed_by_another_is_tried_again(tmp_path):
    """SIGKILL comes from outside, as the kernel's out-of-memory killer sends it."""
    assert run(lambda codec: codec._run(die_once, str(tmp_path / "marker"))) == "survived"


def test_a_pool_that_was_killed_while_idle_is_replaced():
    async def scenario(codec):
        await codec.warm_up()
        (pid,) = codec._pool.pids
        os.kill(pid, signal.SIGKILL)
        return await codec.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_a_file_that_needs_more_memory_than_there_is_fails_alone():
    async def scenario(codec):
        with pytest.raises(CodecOutOfMemory, match="memory"):
            await codec._run(short_of_memory)
        return await codec.decode(png())

    np.testing.assert_array_equal(run(scenario).pixels, PIXELS)


def test_a_large_picture_under_a_small_memory_limit_is_refused_and_a_small_one_is_not():
    large = png(np.zeros((12_000, 12_000, 3), np.uint8), compress_level=1)

    async def scenario(codec):
        with pytest.raises((PhotoError, CodecFailed)):
            await codec.decode(large)
        return await codec.decode(png())

    photo = run(scenario, memory_bytes=1 << 30, limits=Limits(pixels=200_000_000))
    np.testing.assert_array_equal(photo.pixels, PIXELS)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_a_lossless_file(kind, dtype):
    pixels = (PIXELS.astype(np.uint32) * (257 if dtype is np.uint16 else 1)).astype(dtype)
    photo = Photo(pixels=np.zeros_like(pixels), format="png")

    async def scenario(codec):
        data, written_kind = await codec.encode(photo, pixels, kind)
        return written_kind, await codec.decode(data)

    written_kind, read = run(scenario)
    assert written_kind == read.format == kind
    np.testing.assert_array_equal(read.pixels, pixels)
    assert read.pixels.dtype == dtype


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
def test_pixels_survive_a_lossy_file_nearly(kind):
    ramp = np.broadcast_to(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], (48, 64, 3)).copy()

    async def scenario(codec):
        data, _ = await codec.encode(Photo(pixels=ramp, format=kind), ramp, None, 95)
        return await codec.decode(data)

    read = run(scenario)
    assert read.format == kind
    assert np.abs(read.pixels.astype(int) - ramp).mean() < 3


@pytest.mark.parametrize("metadata", [True, False])
def test_metadata_is_kept_when_it_is_wanted(metadata):
    exif = Image.Exif()
    exif[0x010F] = "a camera"

    async def scenario(codec):
        photo = await codec.decode(png(exif=exif.tobytes()))
        data, _ = await codec.encode(photo, photo.pixels, None, None, metadata)
        return data

    with Image.open(io.BytesIO(run(scenario))) as image:
        assert image.getexif().get(0x010F) == ("a camera" if metadata else None)


def test_a_small_picture_is_encoded_without_a_process_and_a_larger_one_with():
    async def scenario(codec):
        small, large = (np.zeros((side, side, 3), np.uint8) for side in (128, 129))
        for pixels, processes in ((small, 0), (large, 1)):
            data, kind = await codec.encode(Photo(pixels=pixels, format="png"), pixels)
            assert kind == "png" and Image.open(io.BytesIO(data)).size == pixels.shape[:2]
            assert len(codec._pool.pids) == processes

    run(scenario)


def test_a_format_that_cannot_keep_everything_gives_a_warning():
    photo = Photo(pixels=PIXELS.astype(np.uint16), format="png", warnings=("an old one",))

    async def scenario(codec):
        return codec.warnings(photo, "jpeg"), codec.warnings(photo, None)

    to_jpeg, to_png = run(scenario)
    assert to_jpeg[0] == "an old one" and len(to_jpeg) == 2
    assert to_png == ("an old one",)


def test_warming_starts_each_process():
    async def scenario(codec):
        await codec.warm_up()
        return len(codec._pool.pids)

    assert run(scenario, workers=2) == 2
    assert import_codec() is None


def test_a_death_costs_its_own_process_only(tmp_path):
    async def scenario(codec):
        pids = set()
        for i in range(4):
            with pytest.raises(CodecFailed):
                await codec._run(die_once_then_want_memory, str(tmp_path / f"marker{i}"))
            pids.add(await codec._run(os.getpid))
        return pids

    assert len(run(scenario)) == 4, "a fresh process after each death"


def test_a_canceled_caller_does_not_get_its_answer_to_the_next():
    async def scenario(codec):
        await codec.warm_up()
        leaving = asyncio.ensure_future(codec._run(slowly, "the answer to a canceled call"))
        await asyncio.sleep(0.05)
        leaving.cancel()
        return await codec._run(slowly, "mine")

    assert run(scenario) == "mine"


@pytest.mark.parametrize("side", [150, 500, 1300])
def test_pictures_of_any_size_are_decoded_and_encoded_repeatedly(side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)

    async def scenario(codec):
        for _ in range(10):
            photo = await codec.decode(png(pixels, compress_level=0))
        photo = await codec.decode(png(pixels))
        data, _ = await codec.encode(photo, photo.pixels)
        return (await codec.decode(data)).pixels

    np.testing.assert_array_equal(run(scenario), pixels)


def slowly(answer: str) -> str:
    """Runs in the pool."""
    time.sleep(0.3)
    return answer


def die_once_then_want_memory(marker: str) -> None:
    """Runs in the pool."""
    die_once(marker)
    short_of_memory()
