"""`unpack` writes files that the stages and `package-autodir` take, from old and from small bundles."""

import sys
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file
from small_families import CONTROLLER, NAFNET, WORDS, network
from tower_bundle import CLIP, FINE, NAMES, WIDE, tower_bundle

from models.autodir.assessor import Assessor
from models.bundle import BundleDegradation, Manifest, write_bundle
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.controller import DaCLIP
from models.networks.drunet import DRUNet
from models.training import __main__ as command
from models.training.core.slimming import slimmed
from models.training.core.text_encoder import load_text_encoder
from models.training.core.weights_file import filled


@pytest.fixture
def unpack(monkeypatch, tmp_path):
    """Writes a bundle and runs the command on it; returns the folder of the files."""

    def run(manifest, networks):
        write_bundle(tmp_path / "bundle", manifest, networks)
        words = ("unpack", str(tmp_path / "bundle"), "--out", str(tmp_path / "files"))
        monkeypatch.setattr(sys, "argv", ["training", *words])
        assert command.main() == 0
        return tmp_path / "files"

    return run


@pytest.mark.parametrize("small", [False, True])
def test_the_files_fit_the_stages_and_hold_what_was_trained(unpack, small):
    manifest, networks = tower_bundle()
    if small:
        made = slimmed(manifest, networks)
        files = unpack(made.manifest, made.networks)
    else:
        files = unpack(manifest, networks)
    stages = {"text", "glance", "assessor", "air", "scm", "detail", "weather"}
    assert {path.name for path in files.iterdir()} == {f"{stage}.safetensors" for stage in stages}
    assessor = filled(Assessor(CLIP, NAMES), files / "assessor.safetensors")
    tower = assessor.clip.get_submodule("visual")
    for branch, name, sizes in ((0, "detail", FINE), (1, "weather", WIDE)):
        specialist = filled(DRUNet(sizes), files / f"{name}.safetensors")
        same = all(
            torch.equal(*pair)
            for pair in zip(specialist.state_dict().values(), tower.branches[branch].state_dict().values(), strict=True)
        )
        assert same == (branch == 0), "as in the bundle"
    filled(tower.own, files / "glance.safetensors", "clip.visual.")
    original = Assessor(CLIP, NAMES).eval()
    original.clip.load_state_dict(networks["clip"])
    fresh = Assessor(CLIP, NAMES).eval()
    load_text_encoder(fresh.clip, files / "text.safetensors")
    for one in (assessor.eval(), fresh):
        torch.testing.assert_close(one.prompts(), original.prompts(), rtol=1e-5, atol=1e-5)
    air = load_file(files / "air.safetensors")
    for name, value in networks["air"].items():
        step = float(value.abs().max()) / 250 if small else 0
        torch.testing.assert_close(air[name], value, rtol=0, atol=step)


def test_the_networks_of_daclip_are_written_too(unpack):
    torch.manual_seed(0)
    manifest = Manifest(
        family="daclip", name="tiny", version="1", description="random", license="Apache-2.0",
        degradations=tuple(BundleDegradation(name=name, prompt=word, fidelity=1) for name, word in WORDS.items()),
        networks={"controller": asdict(CONTROLLER), "nafnet": asdict(NAFNET)}, weights={}, files={},
    )  # fmt: skip
    made = slimmed(manifest, {"daclip": DaCLIP(CONTROLLER).state_dict(), "nafnet": network("nafnet").state_dict()})
    files = unpack(made.manifest, made.networks)
    filled(DaCLIP(CONTROLLER), files / "daclip.safetensors")
    filled(ConditionalNAFNet(NAFNET), files / "nafnet.safetensors")
