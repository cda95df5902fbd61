"""Which pictures and repairs the envelope stops, in AutoDIR's loop; the networks are random."""

import numpy as np
import pytest
import torch
from scenes import scene
from scripted_assessor import Script, restored, sees

from models.controls import Controls
from models.drive import restore_one
from models.pixels import as_image, to_pixels
from models.restorer import Request
from models.safety.envelope import Envelope
from models.training.data.not_photographs import draw

NOISY, CLEAN = sees(noise=0.9), sees(clean=0.9)


@pytest.fixture
def loop(autodir):
    """Builds AutoDIR on random networks, which move pixels beyond any bounds."""

    def build(**fields):
        model = autodir(**fields)
        model.envelope = Envelope(bounds=False, surplus=False)
        return model

    return build


def frame():
    return torch.zeros(3, 48, 64, dtype=torch.uint8)


def test_what_is_no_photograph_comes_back_untouched_and_no_network_looks_at_it(loop):
    script, image = Script(NOISY, CLEAN), frame()
    outcome = restored(loop(assessor=script), image)
    assert outcome.image is image and not script.shown
    assert (outcome.report.stop_reason, outcome.report.passes, outcome.report.change.share) == (
        "not-a-photograph", (), 0
    )  # fmt: skip


@pytest.mark.parametrize("controls", [{"only": ("noise",)}, {"prompt": "less noise"}, {"strict": True}])
def test_a_user_s_order_is_carried_out_on_anything(loop, controls):
    assert restored(loop(assessor=Script(NOISY, CLEAN)), frame(), **controls).report.passes


@pytest.mark.parametrize("controls", [{}, {"skip": ("haze",)}, {"preset": "strong"}, {"strength": 0.5}])
def test_other_controls_are_no_order(loop, controls):
    report = restored(loop(assessor=Script(NOISY, CLEAN)), frame(), **controls).report
    assert report.stop_reason == "not-a-photograph"


def test_the_whole_photo_says_whether_a_part_is_of_a_photograph(loop):
    model = loop(assessor=Script(NOISY, NOISY, CLEAN))
    part = Request(image=frame(), whole=scene(1, 96), controls=Controls())
    assert restore_one(model, part).report.passes
    wall = Request(image=scene(1, 48), whole=frame(), controls=Controls())
    assert restore_one(model, wall).report.stop_reason == "not-a-photograph"


def test_a_graphic_is_enlarged_on_request_and_nothing_else_is_repaired(loop):
    report = restored(loop(assessor=Script(NOISY, CLEAN)), frame(), scale=2).report
    assert [entry.label for entry in report.passes] == ["low-resolution"]


@pytest.mark.parametrize("prompt", [None, "less noise"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_gray_photo_stays_gray(loop, prompt, dtype):
    gray = scene(2, 64).mean(0, keepdim=True).expand(3, -1, -1)
    levels = as_image(to_pixels(gray, dtype))
    outcome = restored(loop(assessor=Script(NOISY, CLEAN)), levels, prompt=prompt)
    pixels = to_pixels(outcome.image, dtype).astype(int)
    assert outcome.report.passes and np.ptp(pixels, axis=2).max() <= 1


def test_a_pass_that_goes_beyond_its_bounds_is_taken_back(loop):
    class Bounds(Envelope):
        def refusal(self, label, before, after, *, later):
            return super().refusal(label, before, torch.full_like(after, -1), later=later)

    model, image = loop(assessor=Script(NOISY, CLEAN)), scene(3, 64)
    model.envelope = Bounds()
    outcome = restored(model, image)
    assert (outcome.report.stop_reason, outcome.report.labels) == ("out-of-bounds", ())
    assert outcome.image is image and not outcome.report.passes[0].kept


def test_a_second_repair_must_lessen_its_damage_and_a_first_need_not():
    image, envelope = scene(4, 64), Envelope(bounds=False)
    assert envelope.refusal("noise", image, image, later=False) is None
    assert envelope.refusal("noise", image, image, later=True) == "did-not-help"
    smooth = torch.nn.functional.avg_pool2d(image[None], 3, 1, 1, count_include_pad=False)[0]
    assert envelope.refusal("noise", image, smooth, later=True) is None


def test_rules_can_be_turned_off_to_measure_them(loop):
    model = loop(assessor=Script(NOISY, CLEAN))
    model.envelope = Envelope(photographs=False, bounds=False)
    assert restored(model, frame()).report.passes


def test_a_page_is_left_alone_by_its_statistics():
    page = as_image(draw("page", np.random.default_rng(1)))
    names = ("noise", "clean")
    assert Envelope().admitted(Request(image=page), names) == (names, "not-a-photograph")
    assert Envelope(photographs=False).admitted(Request(image=page), names) == (names, None)
    assert Envelope().admitted(Request(image=page, controls=Controls(strength=0)), names)[1] == "strength-zero"
