"""How each DA-CLIP and ETDiffIR stage is trained: its configuration, default settings and command line options."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.data import Dataset

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import WILD, ConditionalUNet, UNetConfig
from models.daclip.controller import L14, ControllerConfig, DaCLIP
from models.errors import TrainingError
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.networks.nafnet import NAFNet
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.text_encoder import load_text_encoder
from models.training.core.trainer import Stage
from models.training.core.weights_file import filled
from models.training.daclip import daclip_small
from models.training.daclip.controller_stage import DaCLIPStage, DaCLIPStageConfig, encoder_input, validation_batches
from models.training.daclip.nafnet_start import as_correction, start_from_correction
from models.training.daclip.patch_whitening import whiten_filters
from models.training.daclip.restoration_stage import OneStepStage, RestorationStageConfig, SDEStage
from models.training.data.captioned_examples import WORDS, DrawnExamples, EveryNth, load_captioned_photos, split_photos
from models.training.data.captioned_rows import StoredExamples, read_rows
from models.training.data.captions import read_captions
from models.training.data.dataset import Example
from models.training.data.own_pairs import CaptionedOwnPairs, MixedExamples
from models.training.data.photos import CropConfig, find_photos

Built = tuple[Stage, object]
N = TypeVar("N", bound=nn.Module)

SHRINK = (0.4, 1.0)
VALIDATION_SEED = 20261122
WHITENING_CROPS = 256
"""Clean crops that the first filters are computed from."""
HELD_OUT_EACH, HELD_OUT_EACH_SAMPLED = 8, 2
"""Held-out pictures of every kind; two for the SDE stages, whose sampling takes a CPU seconds for each picture."""

CONTROLLER_DEFAULTS: dict[str, Any] = {
    "minutes": 60.0, "batch": 40, "learning_rate": 5e-4, "weight_decay": 0.05, "warmup_steps": 100,
    "crop": CropConfig(crop_px=daclip_small.CONTROLLER.clip.vision.image_size, shrink=SHRINK),
}  # fmt: skip
SDE_DEFAULTS: dict[str, Any] = {
    "minutes": 90.0, "batch": 8, "learning_rate": 2e-4, "crop": CropConfig(crop_px=128, shrink=SHRINK),
}  # fmt: skip
ONE_STEP_DEFAULTS: dict[str, Any] = {**SDE_DEFAULTS, "learning_rate": 1e-3}
DEFAULTS = {
    "daclip": CONTROLLER_DEFAULTS, "daclip-wild": CONTROLLER_DEFAULTS, "irsde": SDE_DEFAULTS,
    "nafnet-daclip": ONE_STEP_DEFAULTS, "etdiffir": SDE_DEFAULTS,
}  # fmt: skip
"""The fields of `RunConfig` that differ from its own defaults, by stage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("DA-CLIP and ETDiffIR stages").add_argument
    add("--captions", type=Path, help="file with lines of path, tab, caption; default: captions from folder names")
    add("--rows", type=Path, help="rows.tsv of the command captioned-rows, instead of --images")
    add("--wild", action="store_true", help="irsde, nafnet-daclip: degrade with the in-the-wild pipeline")
    add("--content-share", type=float, default=1.0, help="daclip: share of steps with the content term; default: 1")
    add("--daclip", type=Path, help="irsde, etdiffir, nafnet-daclip: weights of the stage daclip")
    add(
        "--word-share", type=float, default=0.0,
        help="nafnet-daclip: share of pictures conditioned by their word, not by the controller; default: 0",
    )  # fmt: skip
    add("--scm", type=Path, help="nafnet-daclip: start from this correction module, weights of the stage scm")


ExampleSets = tuple[Dataset[Example], dict[str, Dataset[Example]]]
"""Training examples, and held-out ones by what they are."""


def example_sets(run: RunConfig, data: TrainingData, arguments: argparse.Namespace, *, wild: bool) -> ExampleSets:
    """Returns the examples of own pairs (--pairs), of stored rows or photos, or a mix of both."""
    own: ExampleSets | None = None
    if data.pairs is not None:
        train, held_out = (
            CaptionedOwnPairs(part, run.crop.crop_px, seed)
            for part, seed in ((data.pairs.train, run.seed), (data.pairs.held_out, VALIDATION_SEED))
        )
        own = train, {"own pairs": held_out}
        if not arguments.images and arguments.rows is None:
            return own
    drawn, validate = synthetic_sets(run, arguments, wild=wild)
    mixed = wild or arguments.rows is not None
    others: dict[str, Dataset[Example]]
    others = {"mixed": validate} if mixed else {word: EveryNth(validate, len(WORDS), i) for i, word in enumerate(WORDS)}
    if own is None:
        return drawn, others
    return MixedExamples(own[0], drawn, data.share, run.seed), {**others, **own[1]}


def synthetic_sets(
    run: RunConfig, arguments: argparse.Namespace, *, wild: bool
) -> tuple[Dataset[Example], Dataset[Example]]:
    """Returns training and held-out examples: stored rows if --rows is given, else drawn from the photos."""
    if arguments.rows is not None:
        rows = read_rows(arguments.rows)
        held_out = [row for i, row in enumerate(rows) if i % 20 == 0]
        train_rows = [row for i, row in enumerate(rows) if i % 20] or held_out
        return (
            StoredExamples(train_rows, run.crop.crop_px, run.seed),
            StoredExamples(held_out, run.crop.crop_px, VALIDATION_SEED),
        )
    stated = read_captions(arguments.captions) if arguments.captions else {}
    photos = load_captioned_photos(
        find_photos(arguments.images), arguments.images, stated, arguments.cache, run.longest_px
    )
    train, validate = (split_photos(photos, validation=validation) for validation in (False, True))
    return (
        DrawnExamples(train, run.crop, run.seed, wild=wild),
        DrawnExamples(validate, run.crop, VALIDATION_SEED, wild=wild),
    )


def held_out_batches(held_out: Mapping[str, Dataset[Example]], each: int) -> tuple[list[Example], tuple[str, ...]]:
    """Returns a batch of each kind of held-out examples, and their names; mixed kinds have as many as all words."""
    counts = {name: each if name in WORDS else each * len(WORDS) for name in held_out}
    batches = [validation_batches(examples, 1, counts[name])[0] for name, examples in held_out.items()]
    return batches, tuple(held_out)


def daclip(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> Built:
    return _daclip(run, data, arguments, wild=False)


def daclip_wild(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> Built:
    return _daclip(run, data, arguments, wild=True)


def _daclip(run: RunConfig, data: TrainingData, arguments: argparse.Namespace, *, wild: bool) -> Built:
    config = DaCLIPStageConfig(
        network=controller_config(arguments, wild=wild), robust=wild, content_share=arguments.content_share
    )
    network = DaCLIP(config.network)
    train, held_out = example_sets(run, data, arguments, wild=wild)
    frozen = _initialize(network, train, arguments)
    batches, _ = held_out_batches(held_out, HELD_OUT_EACH)
    name = "daclip-wild" if wild else "daclip"
    return DaCLIPStage(config, run, train, batches, network, frozen=frozen, name=name), config


def _initialize(network: DaCLIP, train: Dataset[Example], arguments: argparse.Namespace) -> set[str]:
    """Load the encoders from files; returns the parts of the base that stay frozen."""
    if arguments.base is not None:
        filled(network.clip, arguments.base)
        filled(network.controller, arguments.base, "visual.")
        return {"visual", "text"}
    if arguments.size == "small":  # the published encoders start with the filters of a base
        clean = torch.stack([train[index]["target"] for index in range(WHITENING_CROPS)])
        generator = torch.Generator().manual_seed(arguments.seed)
        first = network.controller.get_submodule("conv1")
        whiten_filters(first, encoder_input(clean, network.config), generator)  # type: ignore[arg-type]
        network.clip.get_submodule("visual").load_state_dict(network.controller.state_dict())
    if arguments.text is None:
        return set()
    load_text_encoder(network.clip, arguments.text)
    return {"text"}


def irsde(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> Built:
    small = daclip_small.WILD_UNET if arguments.wild else daclip_small.UNET
    network: UNetConfig = small if arguments.size == "small" else (WILD if arguments.wild else UNetConfig())
    return _sde(run, data, arguments, RestorationStageConfig(network=network), ConditionalUNet(network), "irsde")


def nafnet_daclip(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> Built:
    network = daclip_small.NAFNET if arguments.size == "small" else NAFNetConfig()
    config = RestorationStageConfig(network=network, word_share=arguments.word_share)
    train, batches, names = _examples(run, data, arguments, HELD_OUT_EACH)
    restorer = ConditionalNAFNet(network)
    if arguments.scm is not None:
        correction = filled(NAFNet(as_correction(network)), arguments.scm)
        start_from_correction(restorer, correction, arguments.scm)
    return OneStepStage(config, run, train, batches, _conditioning_daclip(arguments), restorer, kinds=names), config


def _conditioning_daclip(arguments: argparse.Namespace) -> DaCLIP:
    """Returns the frozen DA-CLIP; its text encoder is enough if a word conditions every picture."""
    if arguments.daclip is not None or arguments.word_share < 1 or arguments.text is None:
        return trained_daclip(arguments)
    network = DaCLIP(controller_config(arguments, wild=arguments.wild))
    load_text_encoder(network.clip, arguments.text)
    return network


def etdiffir(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> Built:
    network = daclip_small.EFFICIENT_UNET if arguments.size == "small" else EfficientUNetConfig(mode="paper")
    return _sde(run, data, arguments, RestorationStageConfig(network=network), EfficientUNet(network), "etdiffir")


def _sde(
    run: RunConfig, data: TrainingData, arguments: argparse.Namespace, config: RestorationStageConfig,
    network: ConditionalUNet, name: str,
) -> Built:  # fmt: skip
    train, batches, names = _examples(run, data, arguments, HELD_OUT_EACH_SAMPLED)
    return SDEStage(config, run, train, batches, trained_daclip(arguments), network, name=name, kinds=names), config


def _examples(
    run: RunConfig, data: TrainingData, arguments: argparse.Namespace, each: int
) -> tuple[Dataset[Example], list[Example], tuple[str, ...]]:
    """Returns training examples, the held-out batches, and the names of the batches."""
    train, held_out = example_sets(run, data, arguments, wild=arguments.wild)
    return train, *held_out_batches(held_out, each)


def controller_config(arguments: argparse.Namespace, *, wild: bool) -> ControllerConfig:
    if arguments.size == "small":
        return daclip_small.CONTROLLER
    return L14 if wild else ControllerConfig()


def trained_daclip(arguments: argparse.Namespace) -> DaCLIP:
    """Load the weights of the stage `daclip`.

    Raises:
        TrainingError: --daclip is missing, or the file does not fit.
    """
    if arguments.daclip is None:
        raise TrainingError(
            "got no --daclip. Train it first: python -m models.training daclip --images DIR --out runs/daclip"
        )
    return filled(DaCLIP(controller_config(arguments, wild=arguments.wild)), arguments.daclip)


RECIPES: dict[str, Callable[[RunConfig, TrainingData, argparse.Namespace], Built]] = {
    "daclip": daclip,
    "daclip-wild": daclip_wild,
    "irsde": irsde,
    "nafnet-daclip": nafnet_daclip,
    "etdiffir": etdiffir,
}
