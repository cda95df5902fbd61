"""From trained weights to a bundle of the DA-CLIP family: it verifies, loads, restores, and has small files."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

from models.bundle import read_manifest, verify_bundle
from models.controls import Controls
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.controller import DaCLIP
from models.drive import restore_one
from models.errors import TrainingError
from models.etdiffir.erunet import EfficientUNet
from models.families import load_restorer
from models.restorer import Request
from models.training.daclip import daclip_small
from models.training.daclip.package import add_arguments, package
from models.vocabulary import DACLIP_WORDS

CPU = torch.device("cpu")
MIB = 2**20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The files of the stages: random networks in the sizes of `daclip-small`."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("trained")
    networks = {
        "daclip": DaCLIP(daclip_small.CONTROLLER), "nafnet": ConditionalNAFNet(daclip_small.NAFNET),
        "unet": ConditionalUNet(daclip_small.UNET), "erunet": EfficientUNet(daclip_small.EFFICIENT_UNET),
    }  # fmt: skip
    for name, network in networks.items():
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / f"{name}.st")
    return folder


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def packed(trained, out, network, *words):
    files = ("--daclip", trained / "daclip.st", f"--{network}", trained / f"{network}.st", "--out", out)
    package(parsed(*files, *words))
    return out


@pytest.mark.parametrize("network", ["nafnet", "unet", "erunet"])
@pytest.mark.slow
def test_a_bundle_verifies_loads_and_restores(trained, tmp_path, network):
    bundle = packed(trained, tmp_path / "small", network, "--steps", 2)
    verify_bundle(bundle)
    restorer = load_restorer(bundle, CPU)
    assert len(restorer.names) == len(DACLIP_WORDS)
    image = torch.rand(3, 24, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    restored = restore_one(restorer, Request(image=image, controls=Controls()))
    assert restored.image.shape == image.shape
    assert restored.report.steps == (1 if network == "nafnet" else 2)
    manifest = read_manifest(bundle)
    assert manifest.golden and [entry.prompt for entry in manifest.degradations] == list(DACLIP_WORDS)


@pytest.mark.slow
def test_files_stay_small_enough_to_ship(trained, tmp_path):
    """At most 16 MiB each; controller, U-Net and NAFNet at most 64 MiB together, the controller counted once."""
    sizes = {}
    for network in ("nafnet", "unet"):
        bundle = packed(trained, tmp_path / network, network, "--steps", 2)
        sizes |= {path.name: path.stat().st_size for path in bundle.glob("*.safetensors")}
    assert max(sizes.values()) <= 16 * MIB
    assert sum(sizes.values()) <= 64 * MIB


def test_weights_of_another_network_are_refused(trained, tmp_path):
    files = ("--daclip", trained / "nafnet.st", "--nafnet", trained / "nafnet.st", "--out", tmp_path / "x")
    with pytest.raises(TrainingError, match=r"nafnet\.st does not fit DaCLIP"):
        package(parsed(*files))
