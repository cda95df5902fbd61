"""Pictures on their way: the order of answers, what stays in host memory, and on CUDA the same pixels as on a CPU."""

import numpy as np
import pytest
import torch
from fakes import FakeRestorer

from jobs.spec import JobControls
from models.pixels import floats, to_pixels
from worker.engine import Engine
from worker.engine_entry import Resident
from worker.engine_transfers import PICTURE_BYTES_PER_PX, Outbox, TensorDownload, Transfers
from worker.messages import Done, Failed, PassProgress, StepProgress, Task
from worker.picking import BatchLimits

CPU = torch.device("cpu")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class LateDownload:
    """Arrives when it is told to, or when somebody waits."""

    def __init__(self, download):
        self.download, self.late = download, True

    def arrived(self):
        return not self.late

    def wait(self):
        self.late = False

    def pixels(self):
        assert not self.late, "nobody reads a picture before it has arrived"
        return self.download.pixels()


class LateTransfers(Transfers):
    """Copies that do not end by themselves, as on a device that is busy."""

    def __init__(self):
        super().__init__(CPU)
        self.downloads = []

    def download(self, image, dtype):
        self.downloads.append(LateDownload(super().download(image, dtype)))
        return self.downloads[-1]


def engine_with(transfers, restorer=None):
    answers = []
    resident = Resident(restorer or FakeRestorer(), BatchLimits(max_batch=8, megapixels=100.0))
    return Engine({"": resident}, answers.append, transfers=transfers), answers


def task(number, value=100, **controls):
    pixels = np.full((64, 64, 3), value, np.uint8)
    return Task(id=str(number), pixels=pixels, controls=JobControls(**{"seed": number, "steps": 2, **controls}))


def test_the_next_image_is_stepped_while_a_result_leaves():
    transfers = LateTransfers()
    engine, answers = engine_with(transfers)
    engine.admit(task(1, steps=1))
    engine.admit(task(2, steps=4))
    for _ in range(3):
        engine.turn()
    assert [type(a) for a in answers if getattr(a, "id", "") == "1"].count(Done) == 0
    assert max(a.step for a in answers if isinstance(a, StepProgress) and a.id == "2") == 3
    transfers.downloads[0].late = False
    engine.turn()
    (done,) = [a for a in answers if isinstance(a, Done)]
    assert done.id == "1"
    assert (done.pixels == 100).all()


def test_an_engine_with_nothing_else_to_do_waits_for_what_leaves():
    engine, answers = engine_with(LateTransfers())
    engine.admit(task(1, steps=1))
    engine.turn()
    assert engine.busy
    engine.turn()
    assert [a.id for a in answers if isinstance(a, Done)] == ["1"]
    assert not engine.busy


def test_a_pass_is_told_before_the_steps_of_the_next_and_before_the_end():
    transfers = LateTransfers()
    engine, answers = engine_with(transfers)
    engine.admit(task(1, max_passes=3))
    while engine.busy:
        engine.turn()
    told = [a for a in answers if getattr(a, "id", "") == "1" and not isinstance(a, StepProgress)]
    assert [type(a) for a in told[-3:]] == [PassProgress, PassProgress, Done]
    seen = 0
    for answer in answers:
        seen = max(seen, len(answer.outcome.passes)) if isinstance(answer, PassProgress) else seen
        assert not isinstance(answer, StepProgress) or answer.pass_index == seen


def test_a_canceled_image_sends_nothing_more():
    engine, answers = engine_with(LateTransfers())
    engine.admit(task(1, steps=1))
    engine.turn()
    engine.cancel("1")
    assert not engine.busy
    engine.turn()
    assert not [a for a in answers if isinstance(a, Done | Failed)]


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_spoiled_picture_arrives_as_none(bad):
    image = torch.zeros(3, 5, 4)
    image[1, 4, 3] = bad
    assert Transfers(CPU).download(image, np.uint8).pixels() is None
    assert Transfers(CPU).download(torch.zeros(3, 5, 4), np.uint8).pixels() is not None


def test_answers_leave_in_the_order_of_posting():
    sent = []
    outbox = Outbox(sent.append)
    one, two = (LateDownload(TensorDownload(torch.full((1, 1, 3), n), torch.tensor(True))) for n in (1, 2))
    outbox.post("1", one, lambda pixels: int(pixels[0, 0, 0]))
    outbox.post("2", two, lambda pixels: int(pixels[0, 0, 0]))
    two.late = False
    outbox.flush()
    assert sent == []
    one.late = False
    outbox.flush()
    assert sent == [1, 2]


def test_on_a_cpu_an_upload_is_the_array_itself():
    pixels = np.zeros((4, 6, 3), np.uint16)
    image = Transfers(CPU).upload(pixels, 0)
    pixels[1, 2, 0] = 9
    assert (image.dtype, image.shape, int(image[0, 1, 2])) == (torch.uint16, (3, 4, 6), 9)


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_survive_the_way_to_the_device_and_back(dtype):
    device = torch.device("cuda:0")
    transfers = Transfers(device, 2**30)
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (300, 200, 3), dtype=dtype, endpoint=True)
    image = transfers.upload(pixels, 0)
    transfers.join()
    assert image.is_cuda
    for picture in (image, floats(image)):
        download = transfers.download(picture, dtype)
        download.wait()
        np.testing.assert_array_equal(download.pixels(), pixels)
    np.testing.assert_array_equal(to_pixels(floats(image), dtype), pixels)


@pytest.mark.gpu
@needs_cuda
def test_a_picture_beyond_the_budget_stays_in_host_memory():
    transfers = Transfers(torch.device("cuda:0"), 100 * PICTURE_BYTES_PER_PX)
    pixels = np.zeros((10, 10, 3), np.uint8)
    assert transfers.upload(pixels, 0).is_cuda
    assert not transfers.upload(pixels, 1).is_cuda
