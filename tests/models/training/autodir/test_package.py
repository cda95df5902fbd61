"""From trained weights to a bundle: it verifies, loads, states its origin, and has small files."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from parity_check import assert_parity
from rich.console import Console
from safetensors.torch import load_file, save_file

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.specialists import SpecialistConfig
from models.bundle import read_manifest, verify_bundle
from models.controls import Controls
from models.drive import restore_one
from models.errors import BundleError, TrainingError
from models.families import load_restorer
from models.networks.drunet import DRUNet, DRUNetConfig
from models.networks.nafnet import NAFNet
from models.restorer import Request
from models.training.autodir import autodir_small, package
from models.vocabulary import CLEAN

CPU = torch.device("cpu")
STAGES = ("assessor", "air", "scm")


def write_weights(folder: Path) -> dict[str, Path]:
    """Writes best.safetensors of three stages: random networks in the sizes of `autodir-small`."""
    torch.manual_seed(0)
    networks = Assessor(autodir_small.CLIP, autodir_small.NAMES), AIR(autodir_small.AIR), NAFNet(autodir_small.SCM)
    paths = {}
    for stage, network in zip(STAGES, networks, strict=True):
        paths[stage] = folder / stage / "best.safetensors"
        paths[stage].parent.mkdir(parents=True)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, paths[stage])
    return paths


@pytest.fixture
def tiny(monkeypatch, random_config):
    """Replaces the sizes of the small bundle by tiny ones, with one degradation to repair."""
    for name in ("clip", "air", "scm"):
        monkeypatch.setattr(autodir_small, name.upper(), getattr(random_config, name))
    monkeypatch.setattr(autodir_small, "LOOP", replace(random_config.loop, steps=1, views=1, native_px=2**20))
    monkeypatch.setattr(autodir_small, "NAMES", ("noise", CLEAN))


@pytest.fixture
def weights(tiny, tmp_path):
    return write_weights(tmp_path / "runs")


Packed = Callable[..., Path]


@pytest.fixture
def pack(tmp_path) -> Packed:
    """Runs `python -m models.training package-autodir` in this process; returns the folder of the bundle."""

    def run(weights, *words) -> Path:
        out = tmp_path / "bundles" / "packed"
        stages = [word for stage in STAGES for word in (f"--{stage}", str(weights[stage]))]
        options = argparse.ArgumentParser()
        package.add_arguments(options)
        package.run(options.parse_args([*stages, "--out", str(out), *map(str, words)]), Console(quiet=True))
        return out

    return run


@pytest.fixture
def photos(tmp_path):
    """A folder of two pictures of blobs, large enough for the crops of calibration."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for index in range(2):
        blobs = cv2.resize(rng.random((12, 12, 3)), (240, 240), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index}.png"), (255 * np.clip(blobs, 0, 1)).astype(np.uint8))
    return folder


def test_the_bundle_verifies_and_restores_a_picture(pack, weights):
    bundle = pack(weights)
    verify_bundle(bundle)
    restorer = load_restorer(bundle, CPU)
    assert restorer.names == ("noise",)
    picture = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    done = restore_one(restorer, Request(image=picture, controls=Controls(prompt="denoise")))
    assert done.image.shape == picture.shape
    assert done.image.isfinite().all()


def test_every_weight_is_the_trained_one_in_half_precision(pack, weights):
    """But those of AIR are in 8 bits, and only some tokens have a row (tests/models/training/core/test_slimming.py)."""
    restorer = load_restorer(pack(weights), CPU)
    loaded = zip(STAGES, (restorer.assessor, restorer.air, restorer.scm), strict=True)
    for stage, state in ((stage, network.state_dict()) for stage, network in loaded):
        trained = load_file(weights[stage])
        if stage == "assessor":
            ids = state.pop("clip.token_embedding.ids").long()
            rows = trained["clip.token_embedding.weight"]
            trained = {**trained, "clip.token_embedding.weight": rows[ids]}
            state["clip.token_embedding.weight"] = state["clip.token_embedding.weight"][:-1]
        assert state.keys() == trained.keys()
        for name, value in trained.items():
            step = float(value.abs().max()) / 200 if stage == "air" and value.ndim > 1 else 0
            torch.testing.assert_close(state[name], value.half().float(), atol=step, rtol=0, msg=f"{stage} {name}")


def test_the_manifest_states_version_origin_license_and_published_prompts(pack, weights):
    stated = read_manifest(pack(weights, "--version", "2.1"))
    assert (stated.family, stated.name, stated.version) == ("autodir", "autodir-small", "2.1")
    assert stated.license == "Apache-2.0"
    assert "openly licensed" in stated.trained_on and "synthetic" in stated.trained_on
    assert {entry.name: (entry.prompt, entry.fidelity, entry.strength) for entry in stated.degradations} == {
        "noise": ("A photo needs noise artifact reduction", 1.0, 1.0),
        CLEAN: ("A photo needs no artifact reduction", 0.0, 1.0),
    }


def test_a_bundle_without_a_stated_version_is_version_1(pack, weights):
    assert read_manifest(pack(weights)).version == "1"


def test_packing_again_replaces_the_bundle(pack, weights):
    pack(weights)
    state = load_file(weights["scm"])
    save_file({name: value + 1 for name, value in state.items()}, weights["scm"])
    bundle = pack(weights, "--version", "2")
    verify_bundle(bundle)
    assert read_manifest(bundle).version == "2"
    changed = load_restorer(bundle, CPU).scm.state_dict()["intro.weight"]
    torch.testing.assert_close(changed, (state["intro.weight"] + 1).half().float(), atol=0, rtol=0)


def test_weights_of_other_sizes_are_refused_and_nothing_is_written(pack, weights, tmp_path):
    save_file({"intro.weight": torch.zeros(1)}, weights["scm"])
    with pytest.raises(TrainingError, match=r"best\.safetensors does not fit NAFNet(.|\n)*intro\.weight"):
        pack(weights)
    assert not (tmp_path / "bundles").exists()


def test_a_modified_bundle_is_refused(pack, weights):
    bundle = pack(weights)
    file = bundle / "scm.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match=r"scm\.safetensors"):
        load_restorer(bundle, CPU)


@pytest.mark.slow
def test_with_photos_the_strength_of_each_repair_is_measured(pack, weights, photos, tmp_path):
    """An untrained network spoils noisy photos, so its strength is near 0; "clean" has no repair."""
    bundle = pack(weights, "--images", photos, "--cache", tmp_path / "cache")
    verify_bundle(bundle)
    strength = {entry.name: entry.strength for entry in read_manifest(bundle).degradations}
    assert strength[CLEAN] == 1.0
    assert 0 <= strength["noise"] < 0.2
    assert load_restorer(bundle, CPU).config.strength == strength


@pytest.mark.slow
def test_a_bundle_of_the_shipped_sizes_has_files_below_16_mib(pack, tmp_path):
    bundle = pack(write_weights(tmp_path / "runs"))
    stated = read_manifest(bundle)
    assert {path.name for path in bundle.iterdir()} == {*stated.files, "bundle.json"}
    assert max(path.stat().st_size for path in bundle.iterdir()) <= 16 * 2**20
    assert len(stated.weights["clip"]) > 1, "large networks are split"
    assert [entry.name for entry in stated.degradations] == list(autodir_small.NAMES)
    verify_bundle(bundle)
    assert load_restorer(bundle, CPU).names == autodir_small.NAMES[:-1]


def test_a_specialist_in_the_bundle_repairs_its_degradation(pack, weights, monkeypatch, tmp_path):
    sizes = DRUNetConfig(width=4, blocks=(1, 1), patch=2)
    monkeypatch.setattr(autodir_small, "SPECIALISTS", {"detail": SpecialistConfig(names=("noise",), network=sizes)})
    network, path = DRUNet(sizes), tmp_path / "detail.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    plain, bundle = load_restorer(pack(weights), CPU), pack(weights, "--detail", path)
    verify_bundle(bundle)
    manifest = read_manifest(bundle)
    assert "specialist-detail" in manifest.weights and "detail" in manifest.description
    picture = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    request = Request(image=picture, controls=Controls(prompt="denoise"))
    network.half().float()
    expected = network.requires_grad_(False)(picture[None])[0].clamp(-1, 1)
    assert_parity(restore_one(load_restorer(bundle, CPU), request).image, expected)
    assert not torch.equal(restore_one(plain, request).image, expected)


def test_a_bundle_that_names_a_specialist_without_weights_is_refused(pack, weights):
    bundle = pack(weights)
    stated = json.loads((bundle / "bundle.json").read_text())
    stated["networks"]["specialists"] = {"detail": {"names": ["noise"], "network": {"width": 4}}}
    (bundle / "bundle.json").write_text(json.dumps(stated))
    with pytest.raises(BundleError, match="specialist-detail"):
        load_restorer(bundle, CPU)


@pytest.mark.parametrize("names", [["fog"], ["noise", "noise"]])
def test_a_specialist_for_an_unknown_or_repeated_name_is_refused(pack, weights, names):
    bundle = pack(weights)
    stated = json.loads((bundle / "bundle.json").read_text())
    stated["networks"]["specialists"] = {"detail": {"names": names, "network": {"width": 4}}}
    (bundle / "bundle.json").write_text(json.dumps(stated))
    with pytest.raises(BundleError, match=rf"networks\.specialists: '{names[0]}'"):
        load_restorer(bundle, CPU)
