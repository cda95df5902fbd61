"""`slim` writes a bundle that assesses and restores as the one it was given, for both families."""

import sys
from dataclasses import asdict

import pytest
import torch
from small_families import CONTROLLER, LOOP, NAFNET, WORDS, network
from tower_bundle import tower_bundle

from models.bundle import BundleDegradation, Manifest, read_manifest, verify_bundle, write_bundle
from models.controls import Controls
from models.daclip.controller import DaCLIP
from models.drive import restore_one
from models.families import load_restorer
from models.restorer import Request
from models.training import __main__ as command

CPU = torch.device("cpu")


def daclip_bundle():
    """Returns the manifest and the tensors of a tiny DA-CLIP."""
    torch.manual_seed(0)
    stated = {"controller": asdict(CONTROLLER), "nafnet": asdict(NAFNET), "loop": asdict(LOOP)}
    manifest = Manifest(
        family="daclip", name="tiny", version="1", description="random", license="Apache-2.0",
        degradations=tuple(BundleDegradation(name=name, prompt=word, fidelity=1) for name, word in WORDS.items()),
        networks=stated, weights={}, files={},
    )  # fmt: skip
    return manifest, {"daclip": DaCLIP(CONTROLLER).state_dict(), "nafnet": network("nafnet").state_dict()}


@pytest.fixture
def slim(monkeypatch):
    """Runs the command with these words; returns its exit code."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["training", "slim", *map(str, words)])
        return command.main()

    return run


@pytest.mark.parametrize("made", [tower_bundle, daclip_bundle])
def test_the_smaller_bundle_assesses_and_restores_as_before(slim, tmp_path, capsys, made):
    write_bundle(tmp_path / "old", *made())
    assert slim(tmp_path / "old", "--out", tmp_path / "new", "--version", "7") == 0
    assert "5" in (said := capsys.readouterr().err) and "keep a row of their own" in said
    verify_bundle(tmp_path / "new")
    old, new = (load_restorer(tmp_path / name, CPU) for name in ("old", "new"))
    stated = read_manifest(tmp_path / "new")
    assert (stated.version, stated.name) == ("7", read_manifest(tmp_path / "old").name)
    size_bytes = [sum(file.bytes for file in read_manifest(tmp_path / name).files.values()) for name in ("old", "new")]
    assert size_bytes[1] < size_bytes[0] / 2, "tiny networks are nearly all token embeddings"
    picture = torch.rand(3, 66, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert new.assess([picture])[0].probabilities == pytest.approx(old.assess([picture])[0].probabilities, rel=1e-5)
    for controls in (Controls(prompt="remove the noise"), Controls(only=("haze",)), Controls(strict=True, steps=2)):
        one, other = (restore_one(restorer, Request(image=picture, controls=controls)).image for restorer in (old, new))
        assert float((one - other).abs().max()) < 2 * float(one.max() - one.min()) / 255, controls


def test_a_folder_that_exists_is_not_overwritten(slim, tmp_path, capsys):
    write_bundle(tmp_path / "old", *tower_bundle())
    (tmp_path / "new").mkdir()
    assert slim(tmp_path / "old", "--out", tmp_path / "new") == 3
    assert "new exists. Choose another --out" in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "new").iterdir()) == []
