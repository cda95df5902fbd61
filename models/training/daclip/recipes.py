"""How DA-CLIP and the networks that it guides are trained: configurations, and what the command line may choose."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import WILD, ConditionalUNet, UNetConfig
from models.daclip.controller import L14, ControllerConfig, DaCLIP
from models.errors import TrainingError
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.networks.nafnet import NAFNet
from models.training.core.config import RunConfig
from models.training.core.text import load_text_tower
from models.training.core.trainer import Stage
from models.training.daclip import daclip_small
from models.training.daclip.controller_stage import (
    DaCLIPStage,
    DaCLIPStageConfig,
    seen,
    validation_batches,
)
from models.training.daclip.nafnet_start import as_correction, transplant
from models.training.daclip.patch_whitening import whiten
from models.training.daclip.restoration_stage import OneStepStage, RestoringConfig, SDEStage
from models.training.data.captioned import WORDS, Drawings, Rows, captioned, held_out, read_rows
from models.training.data.captions import read_captions
from models.training.data.dataset import Example
from models.training.data.photos import CropConfig, PhotoPool, find_photos

Pools = tuple[PhotoPool, PhotoPool]
Made = tuple[Stage, object]
N = TypeVar("N", bound=nn.Module)

SHRINK = (0.4, 1.0)
VALIDATION_SEED = 20261122
WHITENED = 256
"""Clean crops that the first filters are made from."""
EACH, SAMPLED = 8, 2
"""Held-out pictures of every kind: to look at, and to restore in many steps, which takes a CPU seconds a picture."""

EMBEDDING: dict[str, Any] = {
    "minutes": 60.0, "batch": 40, "learning_rate": 5e-4, "weight_decay": 0.05, "warmup_steps": 100,
    "crop": CropConfig(crop_px=daclip_small.CONTROLLER.clip.vision.image_size, shrink=SHRINK),
}  # fmt: skip
DENOISING: dict[str, Any] = {
    "minutes": 90.0, "batch": 8, "learning_rate": 2e-4, "crop": CropConfig(crop_px=128, shrink=SHRINK),
}  # fmt: skip
ONE_STEP: dict[str, Any] = {**DENOISING, "learning_rate": 1e-3}
DEFAULTS = {
    "daclip": EMBEDDING, "daclip-wild": EMBEDDING, "irsde": DENOISING, "nafnet-daclip": ONE_STEP, "etdiffir": DENOISING,
}  # fmt: skip


def sources(run: RunConfig, arguments: argparse.Namespace, *, wild: bool) -> tuple[Dataset[Example], Dataset[Example]]:
    """Examples to train on and held-out ones: of rows on disk, or drawn from the photos as they are needed."""
    if arguments.rows is not None:
        rows = read_rows(arguments.rows)
        apart = [row for i, row in enumerate(rows) if i % 20 == 0]
        rest = [row for i, row in enumerate(rows) if i % 20] or apart
        return Rows(rest, run.crop.crop_px, run.seed), Rows(apart, run.crop.crop_px, VALIDATION_SEED)
    stated = read_captions(arguments.captions) if arguments.captions else {}
    photos = captioned(find_photos(arguments.images), arguments.images, stated, arguments.cache, run.longest_px)
    train, validate = (held_out(photos, validation=validation) for validation in (False, True))
    return (
        Drawings(train, run.crop, run.seed, wild=wild),
        Drawings(validate, run.crop, VALIDATION_SEED, wild=wild),
    )


def kinds(arguments: argparse.Namespace, *, wild: bool) -> tuple[str, ...]:
    """Names of the validation's batches: rows and wild pictures come in no order of kinds."""
    return ("mixed",) if wild or arguments.rows is not None else WORDS


def daclip(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> Made:
    return _daclip(run, arguments, wild=False)


def daclip_wild(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> Made:
    return _daclip(run, arguments, wild=True)


def _daclip(run: RunConfig, arguments: argparse.Namespace, *, wild: bool) -> Made:
    config = DaCLIPStageConfig(network=controller(arguments, wild=wild), robust=wild, content=arguments.content)
    network = DaCLIP(config.network)
    train, validate = sources(run, arguments, wild=wild)
    frozen = _begin(network, train, arguments)
    names = kinds(arguments, wild=wild)
    batches = validation_batches(validate, len(names), EACH * len(WORDS) // len(names))
    name = "daclip-wild" if wild else "daclip"
    return DaCLIPStage(config, run, train, batches, network, frozen=frozen, name=name), config


def _begin(network: DaCLIP, train: Dataset[Example], arguments: argparse.Namespace) -> set[str]:
    """Fill the towers from files; returns which sides of the base stay as they are."""
    if arguments.base is not None:
        load_weights(network.clip, arguments.base)
        load_weights(network.controller, arguments.base, "visual.")
        return {"visual", "text"}
    if arguments.size == "small":  # the published towers begin with a base's filters
        clean = torch.stack([train[index]["target"] for index in range(WHITENED)])
        generator = torch.Generator().manual_seed(arguments.seed)
        whiten(network.controller.get_submodule("conv1"), seen(clean, network.config), generator)  # type: ignore[arg-type]
        network.clip.get_submodule("visual").load_state_dict(network.controller.state_dict())
    if arguments.text is None:
        return set()
    load_text_tower(network.clip, arguments.text)
    return {"text"}


def irsde(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> Made:
    small = daclip_small.WILD_UNET if arguments.wild else daclip_small.UNET
    network: UNetConfig = small if arguments.size == "small" else (WILD if arguments.wild else UNetConfig())
    return _sde(run, arguments, RestoringConfig(network=network), ConditionalUNet(network), "irsde")


def nafnet_daclip(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> Made:
    network = daclip_small.NAFNET if arguments.size == "small" else NAFNetConfig()
    config = RestoringConfig(network=network, told=arguments.told)
    train, batches, names = _examples(run, arguments, EACH)
    restorer = ConditionalNAFNet(network)
    if arguments.correction is not None:
        correction = load_weights(NAFNet(as_correction(network)), arguments.correction)
        transplant(restorer, correction, arguments.correction)
    return OneStepStage(config, run, train, batches, _guide(arguments), restorer, kinds=names), config


def _guide(arguments: argparse.Namespace) -> DaCLIP:
    """The frozen guide; its text tower alone where every picture is told its word."""
    if arguments.daclip is not None or arguments.told < 1 or arguments.text is None:
        return trained_daclip(arguments)
    network = DaCLIP(controller(arguments, wild=arguments.wild))
    load_text_tower(network.clip, arguments.text)
    return network


def etdiffir(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> Made:
    network = daclip_small.EFFICIENT if arguments.size == "small" else EfficientUNetConfig(mode="paper")
    return _sde(run, arguments, RestoringConfig(network=network), EfficientUNet(network), "etdiffir")


def _sde(
    run: RunConfig, arguments: argparse.Namespace, config: RestoringConfig, network: ConditionalUNet, name: str
) -> Made:
    train, batches, names = _examples(run, arguments, SAMPLED)
    guide = trained_daclip(arguments)
    return SDEStage(config, run, train, batches, guide, network, name=name, kinds=names), config


def _examples(
    run: RunConfig, arguments: argparse.Namespace, each: int
) -> tuple[Dataset[Example], list[Example], tuple[str, ...]]:
    """To train on, the held-out batches, and the batches' names."""
    train, validate = sources(run, arguments, wild=arguments.wild)
    names = kinds(arguments, wild=arguments.wild)
    return train, validation_batches(validate, len(names), each * len(WORDS) // len(names)), names


def controller(arguments: argparse.Namespace, *, wild: bool) -> ControllerConfig:
    if arguments.size == "small":
        return daclip_small.CONTROLLER
    return L14 if wild else ControllerConfig()


def trained_daclip(arguments: argparse.Namespace) -> DaCLIP:
    """The frozen guide.

    Raises:
        TrainingError: there is none, or it does not fit.
    """
    if arguments.daclip is None:
        raise TrainingError("got no --daclip; train it first: python -m models.training daclip --images ... --out DIR")
    return load_weights(DaCLIP(controller(arguments, wild=arguments.wild)), arguments.daclip)


def load_weights(network: N, path: Path, prefix: str = "") -> N:
    """The network with what is below `prefix` in a safetensors file, strictly.

    Raises:
        TrainingError: it cannot be read, or does not fit.
    """
    try:
        state = {key.removeprefix(prefix): value for key, value in load_file(path).items() if key.startswith(prefix)}
        network.load_state_dict({key: value.to(torch.float32) for key, value in state.items()})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{path} does not fit {type(network).__name__}: {error}. Check --size and the file."
        ) from error
    return network


RECIPES: dict[str, Callable[[RunConfig, Pools, argparse.Namespace], Made]] = {
    "daclip": daclip,
    "daclip-wild": daclip_wild,
    "irsde": irsde,
    "nafnet-daclip": nafnet_daclip,
    "etdiffir": etdiffir,
}
