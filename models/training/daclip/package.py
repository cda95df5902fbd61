"""`python -m models.training package-daclip`: writes a bundle from a trained DA-CLIP and one restoration network.

Reads the weights that the stages wrote; writes half-precision safetensors of less than 16 MiB each, `bundle.json` and
the result for the golden image.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from models import golden
from models.bundle import BundleDegradation, Manifest, write_bundle
from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import WILD, ConditionalUNet, UNetConfig
from models.daclip.config import DaCLIPConfig, LoopConfig
from models.daclip.irsde import SDEConfig
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.families import load_restorer
from models.training.core.slimming import slimmed
from models.training.core.weights_file import filled
from models.training.daclip import daclip_small
from models.training.daclip.recipes import trained_daclip

PARTS = ("controller", "unet", "nafnet", "sde", "fallback", "loop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--daclip", type=Path, required=True, help="best.safetensors of the stage daclip")
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--nafnet", type=Path, help="best.safetensors of the stage nafnet-daclip")
    network.add_argument("--unet", type=Path, help="best.safetensors of the stage irsde")
    network.add_argument("--erunet", type=Path, help="best.safetensors of the stage etdiffir")
    add("--wild", action="store_true", help="the stages were trained with --wild")
    add("--size", choices=("small", "published"), default="small", help="sizes of the networks; default: small")
    add("--steps", type=int, help="default sampling steps of the bundle; the published program takes 100")
    add("--out", type=Path, required=True, help="folder of the bundle; its name is the name of the bundle")
    add("--version", default="1", help="version of the bundle; default: 1")
    add("--trained-on", default="", help="sentence on the training data, for the manifest")


def load_network(arguments: argparse.Namespace) -> tuple[str, nn.Module, DaCLIPConfig | ETDiffIRConfig]:
    """Returns the name of the network in the bundle, the network with its weights, and the family's configuration.

    Raises:
        TrainingError: the weights do not fit.
    """
    small = arguments.size == "small"
    controller = trained_daclip(arguments).config
    sde = SDEConfig(sample_steps=arguments.steps)
    loop = daclip_small.LOOP if small else LoopConfig()
    if arguments.nafnet is not None:
        nafnet = daclip_small.NAFNET if small else NAFNetConfig()
        config: DaCLIPConfig | ETDiffIRConfig = DaCLIPConfig(
            words=daclip_small.WORDS, controller=controller, nafnet=nafnet, loop=loop
        )
        return "nafnet", filled(ConditionalNAFNet(nafnet), arguments.nafnet), config
    if arguments.unet is not None:
        published = WILD if arguments.wild else UNetConfig()
        unet = (daclip_small.WILD_UNET if arguments.wild else daclip_small.UNET) if small else published
        config = DaCLIPConfig(words=daclip_small.WORDS, controller=controller, unet=unet, sde=sde, loop=loop)
        return "unet", filled(ConditionalUNet(unet), arguments.unet), config
    efficient = daclip_small.EFFICIENT_UNET if small else EfficientUNetConfig(mode="paper")
    config = ETDiffIRConfig(words=daclip_small.WORDS, controller=controller, unet=efficient, sde=sde)
    return "unet", filled(EfficientUNet(efficient), arguments.erunet), config


def package(arguments: argparse.Namespace) -> Manifest:
    """Write the bundle.

    Raises:
        TrainingError: the weights do not fit.
    """
    name, network, config = load_network(arguments)
    stated: dict[str, Any] = asdict(config)
    efficient = isinstance(config, ETDiffIRConfig)
    manifest = Manifest(
        family="etdiffir" if efficient else "daclip",
        name=arguments.out.resolve().name,
        version=arguments.version,
        description=f"A small {'ETDiffIR' if efficient else 'DA-CLIP'} for a CPU, trained by this project.",
        license="Apache-2.0",
        degradations=tuple(
            BundleDegradation(name=entry, prompt=word, fidelity=1) for entry, word in daclip_small.WORDS.items()
        ),
        networks={part: stated[part] for part in PARTS if stated.get(part)},
        weights={},
        files={},
        trained_on=arguments.trained_on,
    )
    networks = {"daclip": trained_daclip(arguments).state_dict(), name: network.state_dict()}
    smaller = slimmed(manifest, networks)
    written = write_bundle(arguments.out, smaller.manifest, smaller.networks, torch.float16)
    return golden.record(load_restorer(arguments.out, torch.device("cpu")), arguments.out, written)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the bundle; returns the exit code."""
    package(arguments)
    console.print(f"wrote {arguments.out}", markup=False)
    return 0
