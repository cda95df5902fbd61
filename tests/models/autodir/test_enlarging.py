"""Photos that a network enlarges: their repairs in their own size, the last pass, tiles, and when it is not used."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parity_check import assert_parity
from PIL import Image
from scripted_assessor import Script, sees

from models.autodir.enlarging import enlarged
from models.autodir.restorer import AutoDIR
from models.autodir.specialists import SpecialistConfig, Specialists
from models.controls import Controls
from models.dat.config import DATConfig
from models.dat.network import DAT
from models.drive import restore_one
from models.photo.part import prepared
from models.photo.read import Limits, Photo
from models.pixels import as_image, floats
from models.restorer import Continues, Request

CONFIG = DATConfig(scale=2, width=16, blocks=2, heads=4)
NOISE_THEN_CLEAN = (sees(noise=0.8), sees(clean=0.9))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(2)
    return DAT(CONFIG).eval().requires_grad_(False)


@pytest.fixture
def build(autodir, network):
    """AutoDIR with an enlarger by 2, and prepared answers of the assessor."""

    def make(*answers, names=None, **loop):
        plain = autodir(assessor=Script(*answers), **loop)
        config = replace(plain.config, names=names or plain.config.names)
        bank = Specialists(
            {"dat-x2": SpecialistConfig(names=("low-resolution",), dat=CONFIG)}, {}, {"dat-x2": lambda: network}
        )
        model = AutoDIR(config, plain.assessor, plain.air, plain.scm, plain.device, bank)
        model.envelope = plain.envelope
        return model

    return make


def small_pixels(height=20, width=28):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def request_for(pixels, scale=2, compressed=False, **controls):
    photo = prepared(Photo(pixels=pixels, format="png"), None, scale, Limits())
    return Request(
        image=as_image(photo.pixels), controls=Controls(scale=scale, **controls), small=as_image(photo.small),
        compressed=compressed,
    )  # fmt: skip


def repairs(report):
    return [(one.label, one.source, one.by) for one in report.passes]


ENLARGED = ("low-resolution", "scale", "specialist dat-x2")


def test_a_clean_photo_becomes_what_the_network_makes_of_it(build, network):
    pixels = small_pixels()
    done = restore_one(build(sees(clean=0.9)), request_for(pixels))
    assert_parity(done.image, network(floats(as_image(pixels))[None])[0].clamp(-1, 1))
    assert repairs(done.report) == [ENLARGED] and done.report.stop_reason == "clean"


def test_damage_is_repaired_in_the_photos_own_size_first(build, autodir, network):
    pixels = small_pixels()
    model = build(*NOISE_THEN_CLEAN)
    done = restore_one(model, request_for(pixels))
    assert [tuple(image.shape[1:]) for image in model.assessor.shown] == [(20, 28), (20, 28), (40, 56)]
    small = restore_one(autodir(assessor=Script(*NOISE_THEN_CLEAN)), Request(image=as_image(pixels)))
    assert_parity(done.image, network(small.image[None])[0].clamp(-1, 1))
    assert repairs(done.report) == [("noise", "auto", "diffusion"), ENLARGED]
    assert done.report.change.share > 0


def test_pictures_between_passes_have_the_size_of_the_result(build):
    model = build(*NOISE_THEN_CLEAN)
    (outcome,) = model.begin([request_for(small_pixels())])
    shapes = []
    while isinstance(outcome, Continues):
        shapes.append(None if outcome.image is None else tuple(outcome.image.shape))
        for track in outcome.tracks:
            while track.step < track.steps:
                model.step([track])
        outcome = model.finish(outcome.tracks)[-1]
    assert shapes == [None, (3, 40, 56)] and outcome.image.shape == (3, 40, 56)


@pytest.mark.parametrize(
    ("controls", "by"),
    [
        ({"strict": True}, "diffusion"),
        ({"prompt": "more details"}, "diffusion"),
        ({"skip": ("low-resolution",)}, None),
        ({"strength": {"low-resolution": 0}}, None),
    ],
)
def test_without_the_network_the_enlarged_photo_is_restored_as_before(build, autodir, controls, by):
    request = request_for(small_pixels(), **controls)
    done = restore_one(build(sees(clean=0.9)), request)
    same = restore_one(autodir(assessor=Script(sees(clean=0.9))), replace(request, small=None))
    assert torch.equal(floats(done.image), floats(same.image))
    assert {one.by for one in done.report.passes} <= {by}


def test_a_scale_without_a_network_is_enlarged_as_before(build):
    done = restore_one(build(sees(clean=0.9)), request_for(small_pixels(), scale=4))
    assert [one.by for one in done.report.passes] == ["diffusion"] and done.image.shape == (3, 80, 112)


@pytest.mark.parametrize("strength", [0.25, {"low-resolution": 0.25}])
def test_strength_mixes_the_network_with_the_bicubic_enlargement(build, strength):
    pixels = small_pixels()
    full = restore_one(build(sees(clean=0.9)), request_for(pixels)).image
    part = restore_one(build(sees(clean=0.9)), request_for(pixels, strength=strength)).image
    torch.testing.assert_close(part, torch.lerp(enlarged(as_image(pixels), 2), full, 0.25), atol=0.01, rtol=0)


def test_one_pass_only_is_the_enlargement(build):
    done = restore_one(build(*NOISE_THEN_CLEAN), request_for(small_pixels(), max_passes=1))
    assert repairs(done.report) == [ENLARGED]


@pytest.mark.parametrize(("compressed", "first"), [(True, ["jpeg"]), (False, [])])
def test_a_coarse_jpeg_is_repaired_before_it_is_enlarged(build, compressed, first):
    names = ("noise", "jpeg", "low-resolution", "clean")
    answer = {"noise": 0.01, "jpeg": 0.01, "low-resolution": 0.01, "clean": 0.97}
    done = restore_one(build(answer, names=names), request_for(small_pixels(), compressed=compressed))
    assert [one.label for one in done.report.passes] == [*first, "low-resolution"]
    assert {one.source for one in done.report.passes} == {"scale"}


RAINY = {"noise": 0.02, "rain": 0.9, "low-resolution": 0.02, "clean": 0.06}
NOISY = {"noise": 0.6, "rain": 0.02, "low-resolution": 0.02, "clean": 0.36}


@pytest.mark.parametrize(
    ("answer", "controls", "first"),
    [
        (RAINY, {}, []),  # the patterns of small photos look like rain
        (RAINY, {"only": ("rain", "low-resolution")}, ["rain"]),  # unless the user says that it rains
        (NOISY, {}, []),  # small photos without noise have up to 0.49
        ({**NOISY, "noise": 0.8, "clean": 0.0}, {}, ["noise"]),
        (NOISY, {"skip": ("noise", "rain")}, []),
    ],
)
def test_in_a_photos_own_size_repairs_need_certainty(build, answer, controls, first):
    after = {"noise": 0.01, "rain": 0.01, "low-resolution": 0.01, "clean": 0.97}
    model = build(answer, after, names=("noise", "rain", "low-resolution", "clean"))
    done = restore_one(model, request_for(small_pixels(), **controls))
    assert [one.label for one in done.report.passes] == [*first, "low-resolution"]


def test_tiles_have_the_size_of_the_bundle_in_the_result_and_leave_no_gap(build):
    model = build(sees(clean=0.9), native_px=32 * 32)
    (outcome,) = model.begin([request_for(small_pixels(33, 50))])
    assert len(outcome.tracks) > 1
    assert all(4 * track.area.height * track.area.width <= 32 * 32 for track in outcome.tracks)
    model.step(outcome.tracks[:1])  # one at a time, as a device with little memory
    for track in outcome.tracks[1:]:
        model.step([track])
    done = model.finish(outcome.tracks)[-1]
    assert done.image.shape == (3, 66, 100) and torch.isfinite(done.image).all()


def test_large_photos_are_cut_where_the_network_would_be_slow(build):
    (outcome,) = build(sees(clean=0.9), native_px=10**7).begin([request_for(small_pixels(300, 400))])
    areas = [track.area.height * track.area.width for track in outcome.tracks]
    assert len(areas) > 1 and max(areas) <= 256**2


def test_smaller_tiles_on_request_count_pixels_of_the_result(build):
    (outcome,) = build(sees(clean=0.9)).begin([replace(request_for(small_pixels(40, 60)), tile_px=24)])
    assert max(track.area.height * track.area.width for track in outcome.tracks) <= 12 * 12


@pytest.mark.parametrize("scale", [2, 4])
def test_the_plain_enlargement_is_that_of_pillow(scale):
    channel = (small_pixels(17, 23)[..., 0] / 255).astype(np.float32)
    theirs = np.asarray(Image.fromarray(channel).resize((23 * scale, 17 * scale), Image.Resampling.BICUBIC))
    ours = enlarged(torch.from_numpy(channel).expand(3, -1, -1) * 2 - 1, scale)
    np.testing.assert_allclose((ours[0].numpy() + 1) / 2, theirs.clip(0, 1), atol=2e-6)


def test_a_transparent_photo_is_enlarged_without_the_network():
    """The network knows no alpha: hidden colors would bleed into edges."""
    pixels = small_pixels()
    for alpha, kept in (
        (np.full((20, 28), 255, np.uint8), True),
        (np.arange(560, dtype=np.uint16).reshape(20, 28) % 256, False),
    ):
        photo = Photo(pixels=pixels, format="png", alpha=alpha.astype(np.uint8))
        assert (prepared(photo, None, 2, Limits()).small is not None) is kept


def test_of_an_enlarged_crop_the_part_before_the_enlargement_is_kept():
    photo = prepared(Photo(pixels=small_pixels(), format="png"), (2, 3, 10, 8), 2, Limits())
    assert np.array_equal(photo.small, small_pixels()[3:11, 2:12]) and photo.pixels.shape == (16, 20, 3)


@pytest.mark.parametrize(("prompt", "done"), [
    ("remove the noise", [("noise", "user", "diffusion"), ENLARGED]),
    ("upscale it", [("low-resolution", "user", "specialist dat-x2")]),
    ("upscale it, then denoise", [("low-resolution", "user", "specialist dat-x2"), ("noise", "user", "diffusion")]),
])  # fmt: skip
def test_what_a_prompt_asks_for_before_the_enlargement_is_done_in_the_photos_own_size(build, prompt, done):
    model = build(sees(clean=0.9))
    model.config = replace(model.config, prompts="words")
    restored = restore_one(model, request_for(small_pixels(), prompt=prompt))
    assert repairs(restored.report) == done and restored.report.stop_reason == "prompt-done"
    assert tuple(restored.image.shape[1:]) == (40, 56)
    assert tuple(model.assessor.shown[0].shape[1:]) == (20, 28)
