"""`python -m models.training.daclip.package`: a trained DA-CLIP and one restoration network become a bundle.

Takes the weights that the stages wrote; writes half-precision safetensors of less than 16 MiB each, `bundle.json` and
the golden image's answer.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models import golden
from models.bundle import BundleDegradation, Manifest, write_bundle
from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import WILD, ConditionalUNet, UNetConfig
from models.daclip.config import DaCLIPConfig, LoopConfig
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.families import load_restorer
from models.training.daclip import daclip_small
from models.training.daclip.recipes import load_weights, trained_daclip
from models.vocabulary import DACLIP_WORDS, degradation

WORDS = {degradation(word).name: word for word in DACLIP_WORDS}
PARTS = ("controller", "unet", "nafnet", "sde", "fallback", "loop")


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m models.training.daclip.package", description=__doc__)
    arguments.add_argument("--daclip", type=Path, required=True, help="best.safetensors of the stage daclip")
    network = arguments.add_mutually_exclusive_group(required=True)
    network.add_argument("--nafnet", type=Path, help="of the stage nafnet-daclip")
    network.add_argument("--unet", type=Path, help="of the stage irsde")
    network.add_argument("--erunet", type=Path, help="of the stage etdiffir")
    arguments.add_argument("--wild", action="store_true", help="the stages were trained in the wild")
    arguments.add_argument("--size", choices=("small", "published"), default="small")
    arguments.add_argument("--steps", type=int, help="sampling steps by default; the published program takes 100")
    arguments.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    arguments.add_argument("--version", default="1")
    arguments.add_argument("--trained-on", default="", help="a sentence for the manifest")
    return arguments


def chosen(arguments: argparse.Namespace) -> tuple[str, nn.Module, DaCLIPConfig | ETDiffIRConfig]:
    """The network's name in the bundle, the network with its weights, and the family's configuration.

    Raises:
        TrainingError: the weights do not fit.
    """
    small = arguments.size == "small"
    controller = trained_daclip(arguments).config
    sde = daclip_small.sampled(arguments.steps)
    loop = daclip_small.LOOP if small else LoopConfig()
    if arguments.nafnet is not None:
        nafnet = daclip_small.NAFNET if small else NAFNetConfig()
        config: DaCLIPConfig | ETDiffIRConfig = DaCLIPConfig(
            words=WORDS, controller=controller, nafnet=nafnet, loop=loop
        )
        return "nafnet", load_weights(ConditionalNAFNet(nafnet), arguments.nafnet), config
    if arguments.unet is not None:
        published = WILD if arguments.wild else UNetConfig()
        unet = (daclip_small.WILD_UNET if arguments.wild else daclip_small.UNET) if small else published
        config = DaCLIPConfig(words=WORDS, controller=controller, unet=unet, sde=sde, loop=loop)
        return "unet", load_weights(ConditionalUNet(unet), arguments.unet), config
    efficient = daclip_small.EFFICIENT if small else EfficientUNetConfig(mode="paper")
    config = ETDiffIRConfig(words=WORDS, controller=controller, unet=efficient, sde=sde)
    return "unet", load_weights(EfficientUNet(efficient), arguments.erunet), config


def package(arguments: argparse.Namespace) -> Manifest:
    """Write the bundle.

    Raises:
        TrainingError: weights do not fit.
    """
    name, network, config = chosen(arguments)
    stated: dict[str, Any] = asdict(config)
    efficient = isinstance(config, ETDiffIRConfig)
    manifest = Manifest(
        family="etdiffir" if efficient else "daclip",
        name=arguments.out.resolve().name,
        version=arguments.version,
        description=f"A small {'ETDiffIR' if efficient else 'DA-CLIP'} for a CPU, trained by this project.",
        license="Apache-2.0",
        degradations=tuple(BundleDegradation(name=entry, prompt=word, fidelity=1) for entry, word in WORDS.items()),
        networks={part: stated[part] for part in PARTS if stated.get(part)},
        weights={},
        files={},
        trained_on=arguments.trained_on,
    )
    networks = {"daclip": trained_daclip(arguments).state_dict(), name: network.state_dict()}
    written = write_bundle(arguments.out, manifest, networks, torch.float16)
    return golden.record(load_restorer(arguments.out, torch.device("cpu")), arguments.out, written)


def main() -> None:
    package(parser().parse_args())


if __name__ == "__main__":
    main()
