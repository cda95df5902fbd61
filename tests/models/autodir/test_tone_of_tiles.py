"""Repairs of light in tiles: their brightness is that of one pass over the whole photo."""

from dataclasses import replace

import pytest
import torch
from scripted_assessor import NAMES, Script, restored, sees

from models.autodir.restorer import AutoDIR
from models.autodir.specialists import SpecialistConfig, Specialists
from models.controls import Controls
from models.maxim.config import MAXIMConfig
from models.restorer import Request

SIDE = 384  # a multiple of the stride: padding is seen by the network, too


def evened(images):
    """Stands for a network that brightens by what it sees: each picture gets a mean of 0."""
    return images - images.mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture
def build(autodir):
    """AutoDIR that finds `label` once and repairs it by `evened`, in tiles of `tile_px` pixels a side."""

    def make(label, tile_px=128):
        plain = autodir(assessor=Script(sees(**{label.replace("-", "_"): 0.9}), sees(clean=0.9)))
        loop = replace(plain.config.loop, native_px=tile_px**2, overlap_px=32, blackening=1.0)
        bank = Specialists({"one": SpecialistConfig(names=(label,), maxim=MAXIMConfig())}, {}, {"one": lambda: evened})
        config = replace(plain.config, loop=loop, names=NAMES, strength={})
        model = AutoDIR(config, plain.assessor, plain.air, plain.scm, plain.device, bank)
        model.envelope = plain.envelope
        return model

    return make


def wall():
    """A dark wall, brighter to the right, with texture: (3, SIDE, SIDE)."""
    texture = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.04
    return torch.linspace(-0.9, -0.5, SIDE).expand(3, SIDE, SIDE) + texture


def test_tiles_get_the_tone_of_the_whole_photo(build):
    whole = evened(wall()[None])[0]
    done = restored(build("haze"), wall())
    assert [one.label for one in done.report.passes] == ["haze"]
    assert float((done.image - whole).abs().max()) < 3 / 127.5  # no drift beyond 3 levels


def test_without_it_tiles_drift(build):
    """The same network for a kind of damage that is repaired tile by tile."""
    whole = evened(wall()[None])[0]
    done = restored(build("noise"), wall())
    assert float((done.image - whole).abs().max()) > 10 / 127.5


def test_a_photo_of_one_tile_is_repaired_as_it_is(build):
    model = build("haze", tile_px=512)
    (outcome,) = model.begin([Request(image=wall(), controls=Controls())])
    assert len(outcome.tracks) == 1
    assert torch.equal(restored(build("haze", tile_px=512), wall()).image, evened(wall()[None])[0])
