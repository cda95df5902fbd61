"""AutoDIR with specialists: which network repairs which degradation, strict mode, and the single step."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from parity_check import PROGRAM, assert_parity

from models.autodir.restorer import AutoDIR
from models.autodir.specialists import SpecialistConfig, Specialists
from models.autodir.track import AutoDIRTrack, SpecialistTrack
from models.controls import Controls
from models.drive import restore_all, restore_one
from models.maxim.config import MAXIMConfig
from models.networks.drunet import DRUNet, DRUNetConfig
from models.restorer import Continues, Request, Restored
from models.tracks import cut_into_tiles
from processes.memory_limits import Memory

NETWORK = DRUNetConfig(width=4, blocks=(1, 1), patch=2)
WORDS = "remove the noise"


@pytest.fixture(scope="module")
def special():
    torch.manual_seed(3)
    return DRUNet(NETWORK).eval().requires_grad_(False)


@pytest.fixture
def build(autodir, special):
    """AutoDIR on random networks with one specialist for these names."""

    def make(*names, mirrored=False):
        plain = autodir()
        config = SpecialistConfig(names=names, network=NETWORK, mirrored=mirrored)
        bank = Specialists({"detail": config}, {"detail": special})
        return AutoDIR(plain.config, plain.assessor, plain.air, plain.scm, plain.device, bank)

    return make


@pytest.fixture
def label(autodir):
    """The degradation that the random assessor finds in the prompt."""
    understood = autodir().assessor.prompt_probabilities(WORDS)
    return max(autodir().names, key=lambda name: understood[name])


@pytest.fixture
def model(build, label):
    return build(label)


def picture(height=24, width=32, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def restored(model, image, **controls):
    return restore_one(model, Request(image=image, controls=Controls(**controls)))


def test_the_specialist_alone_repairs_its_degradation(model, special, label):
    image = picture(23, 37)
    done = restored(model, image, prompt=WORDS)
    assert_parity(done.image, special(image[None])[0].clamp(-1, 1))
    assert [(one.label, one.by) for one in done.report.passes] == [(label, "specialist detail")]


def test_strict_mode_does_not_use_the_specialist(model, autodir):
    image, controls = picture(), {"prompt": WORDS, "strict": True}
    assert torch.equal(restored(model, image, **controls).image, restored(autodir(), image, **controls).image)


def test_other_degradations_are_diffused_and_corrected(build, autodir, label):
    image, others = picture(), [name for name in autodir().names if name != label]
    done = restored(build(*others), image, prompt=WORDS)
    assert torch.equal(done.image, restored(autodir(), image, prompt=WORDS).image)
    assert [one.by for one in done.report.passes] == ["diffusion"]


def test_mirrored_repair_of_a_mirror_image_is_the_mirror_image_of_the_repair(build, label, special):
    """The mean over a group commutes with the group; a single call of a random network does not."""
    model, image = build(label, mirrored=True), picture(24, 36)  # multiples of the stride: padding is on one side
    once = special(image[None])[0].clamp(-1, 1)
    assert (special(image.flip(-1)[None])[0].flip(-1) - once).abs().max() > 1e-3
    done, turned = (restored(model, one, prompt=WORDS).image for one in (image, image.flip(-1)))
    assert_parity(turned.flip(-1), done)
    assert (done - once).abs().max() > 1e-3


class StreakEraser(torch.nn.Module):
    """Takes bright vertical runs of seven pixels or more away: it erases rain that falls, and no other."""

    def forward(self, x):
        middle = -F.max_pool2d(-x, (7, 1), 1, (3, 0))
        return torch.where(F.max_pool2d(middle, (7, 1), 1, (3, 0)) > 0.5, torch.full_like(x, -0.5), x)


def rainy(height, width, seed, streaks=12):
    """A smooth ground with streaks that fall, as (3, H, W)."""
    rng = torch.Generator().manual_seed(seed)
    image = torch.full((3, height, width), -0.5)
    for _ in range(streaks):
        y, x = int(torch.randint(height - 9, (1,), generator=rng)), int(torch.randint(width, (1,), generator=rng))
        image[:, y : y + 9, x] = 0.9
    return image


@pytest.fixture
def bank():
    def make(turned, mirrored=False):
        config = SpecialistConfig(names=("rain",), network=NETWORK, turned=turned, mirrored=mirrored)
        return Specialists({"weather": config}, {"weather": StreakEraser()})

    return make


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rain_that_falls_in_any_direction_is_erased_alike(bank, quarters, mirrored):
    image = rainy(24, 36, seed=1)
    upright = bank(True, mirrored).restore("weather", image[None])
    assert (upright < 0).all() and torch.equal(upright, bank(False, mirrored).restore("weather", image[None]))
    sideways = bank(True, mirrored).restore("weather", torch.rot90(image[None], quarters, (-2, -1)))
    assert torch.equal(torch.rot90(sideways, -quarters, (-2, -1)), upright)


def test_without_turns_rain_in_a_photo_stored_sideways_stays(bank):
    sideways = torch.rot90(rainy(24, 36, seed=1)[None], 1, (-2, -1))
    assert torch.equal(bank(False).restore("weather", sideways), sideways)


def test_each_photo_of_a_batch_has_its_own_turn(bank):
    images = [rainy(24, 24, seed=2), torch.rot90(rainy(24, 24, seed=3), 1, (-2, -1)), rainy(24, 24, seed=4)]
    together = bank(True).restore("weather", torch.stack(images))
    for image, one in zip(images, together, strict=True):
        assert torch.equal(one, bank(True).restore("weather", image[None])[0])
        assert (one < 0).all()


def test_a_photo_that_both_turns_change_alike_is_repaired_upright(bank):
    """Lines of the scene may lie; only clearly more change speaks for a photo stored sideways."""
    image = torch.full((3, 40, 40), -0.5)
    image[:, 2:11, 5] = image[:, 2:11, 15] = image[:, 30, 20:30] = 0.9
    done = bank(True).restore("weather", image[None])[0]
    assert (done[:, 2:11] < 0).all() and torch.equal(done[:, 20:], image[:, 20:])


def test_fidelity_is_the_share_of_the_change_that_is_applied(model):
    image = picture()
    whole, half, none = (restored(model, image, prompt=WORDS, fidelity=w).image for w in (1.0, 0.5, 0.0))
    assert_parity(half, (image + whole) / 2)
    assert torch.equal(none, image)


def test_a_specialist_takes_one_step_in_the_same_batch_as_diffusion(model):
    noise = Request(image=picture(), controls=Controls(prompt=WORDS, steps=9))
    diffused = Request(image=picture(seed=1), controls=Controls(prompt=WORDS, strict=True))
    outcomes = model.begin([noise, diffused])
    assert all(isinstance(outcome, Continues) for outcome in outcomes)
    tracks = [outcome.tracks[0] for outcome in outcomes]
    assert isinstance(tracks[0], SpecialistTrack) and isinstance(tracks[1], AutoDIRTrack)
    assert tracks[0].shape == tracks[1].shape and tracks[0].steps == 1
    model.step(tracks)
    assert [track.step for track in tracks] == [1, 1]
    (done,) = model.finish(tracks[:1])
    assert isinstance(done, Restored)
    assert torch.equal(done.image, restored(model, picture(), prompt=WORDS).image)


def test_a_step_that_fails_changes_neither_kind_of_track(model, monkeypatch):
    requests = [Request(image=picture(), controls=Controls(prompt=WORDS, strict=strict)) for strict in (True, False)]
    tracks = [outcome.tracks[0] for outcome in model.begin(requests)]
    monkeypatch.setattr(model.specialists, "restore", lambda *_: (_ for _ in ()).throw(MemoryError("no room")))
    with pytest.raises(MemoryError):
        model.step(tracks)
    monkeypatch.undo()
    assert tracks[1].step == 0 and tracks[1].restored is None
    expected = [restored(model, picture(), prompt=WORDS, strict=strict).image for strict in (True, False)]
    while left := [track for track in tracks if track.step < track.steps]:
        model.step(left)
    for outcome, image in zip(model.finish(tracks), expected, strict=True):
        assert_parity(outcome.image, image, of_range=PROGRAM)


def test_a_large_picture_is_restored_in_tiles_that_leave_no_seams(build, label, special):
    """The first tile is the network's own result; a network that changes nothing returns the picture."""
    image = picture(100, 90)
    model = build(label)
    done = restored(model, image, prompt=WORDS)  # native_px of the random loop is 64 x 64
    area = cut_into_tiles(image, model.config.loop, NETWORK.patch, None)[0][0]
    first = special(area.crop(image)[None])[0].clamp(-1, 1)
    assert_parity(done.image[:, :16, :16], first[:, :16, :16])
    silent = DRUNet(NETWORK).eval().requires_grad_(False)
    silent.tail.weight.zero_()
    model.specialists.networks["detail"] = silent
    assert_parity(restored(model, image, prompt=WORDS).image, image)


def test_the_result_of_an_image_does_not_depend_on_its_batch(model):
    requests = [Request(image=picture(seed=seed), controls=Controls(prompt=WORDS)) for seed in range(3)]
    together = [done.image for done in restore_all(model, requests, together=3)]
    for request, image in zip(requests, together, strict=True):
        assert_parity(restore_one(model, request).image, image)


def brighter(by):
    """A network in place of MAXIM: adds a constant."""
    return lambda x: x + by


def test_a_specialist_on_request_repairs_only_where_the_prompt_has_one_of_its_words(autodir, label):
    configs = {
        "inside": SpecialistConfig(names=(label,), maxim=MAXIMConfig(), words=("indoor", "room")),
        "outside": SpecialistConfig(names=(label,), maxim=MAXIMConfig()),
    }
    bank = Specialists(configs, {}, {"inside": lambda: brighter(0.25), "outside": lambda: brighter(0.5)})
    assert (bank.key_of(label), bank.key_of("another")) == ("outside", None)
    assert bank.key_of(label, "an Indoor, picture") == "inside"
    assert bank.key_of(label, "a classroom") == "outside"
    plain = autodir()
    model = AutoDIR(plain.config, plain.assessor, plain.air, plain.scm, plain.device, bank)
    image = picture(64, 64).clamp(-1, 0)
    for words, by, change in ((WORDS, "outside", 0.5), (f"{WORDS}, Indoor!", "inside", 0.25)):
        done = restored(model, image, prompt=words)
        assert [one.by for one in done.report.passes] == [f"specialist {by}"]
        assert_parity(done.image, image + change)
        assert "Indoor!" not in done.report.understood.ignored


def test_networks_on_demand_are_loaded_on_first_use_and_few_stay():
    loaded = []

    def load(key):
        loaded.append(key)
        return brighter(0.0)

    keys = ("a", "b", "c")
    configs = {key: SpecialistConfig(names=(key,), maxim=MAXIMConfig()) for key in keys}
    bank = Specialists(configs, {}, {key: partial(load, key) for key in keys}, kept=2)
    assert bank.stride("a") == 64 and loaded == []
    for key in "abab":
        bank.restore(key, torch.zeros(1, 3, 64, 64))
    assert loaded == ["a", "b"]
    for key in "cba":  # c takes the place of a, which was used before b
        bank.restore(key, torch.zeros(1, 3, 64, 64))
    assert loaded == ["a", "b", "c", "a"]
    Specialists(configs, {}, {key: partial(load, key) for key in keys}, kept=3).load_all()
    assert loaded[4:] == ["a", "b", "c"]


@pytest.mark.parametrize(("available_mib", "tiles"), [(4096, 1), (256, 4)])
def test_where_memory_is_short_a_large_network_gets_smaller_tiles(autodir, label, monkeypatch, available_mib, tiles):
    monkeypatch.setattr("models.autodir.specialists.memory", lambda: Memory(available_mib * 2**20, None))
    config = SpecialistConfig(names=(label,), maxim=MAXIMConfig())
    plain = autodir()
    loop = replace(plain.config.loop, native_px=1024**2, overlap_px=32)
    bank = Specialists({"large": config}, {}, {"large": lambda: brighter(0.5)})
    model = AutoDIR(replace(plain.config, loop=loop), plain.assessor, plain.air, plain.scm, plain.device, bank)
    image = picture(300, 600).clamp(-1, 0)
    (outcome,) = model.begin([Request(image=image, controls=Controls(prompt=WORDS))])
    assert len(outcome.tracks) == tiles
    assert all(track.area.height * track.area.width <= 256**2 or tiles == 1 for track in outcome.tracks)
    assert_parity(restored(model, image, prompt=WORDS).image, image + 0.5)
    (outcome,) = model.begin([Request(image=image, controls=Controls(prompt=WORDS), tile_px=128)])
    assert all(track.area.height * track.area.width <= 128**2 for track in outcome.tracks)
