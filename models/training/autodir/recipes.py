"""How each stage of `autodir-small` is trained: its configuration, default settings and command line options."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.config import LoopConfig
from models.errors import TrainingError
from models.networks.nafnet import NAFNetConfig
from models.training.autodir import autodir_small
from models.training.autodir.air_stage import AIRStage, AIRStageConfig, Contexts
from models.training.autodir.assessor_stage import AssessorStage, AssessorStageConfig, load_trained_encoders
from models.training.autodir.evidence_store import read_evidence
from models.training.autodir.frozen_air import FrozenAIR
from models.training.autodir.published_base import PublishedBase, open_base
from models.training.autodir.scm_stage import SCMStage, SCMStageConfig
from models.training.autodir.second_pass import load_specialists
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.text_encoder import load_text_encoder
from models.training.core.trainer import Stage
from models.training.core.weights_file import filled
from models.training.data.degradations import Mixture
from models.training.data.photos import MAX_GRAIN, CropConfig
from models.training.data.phrases import phrase
from models.vocabulary import AUTODIR_NAMES, CLEAN

SHRINK = (0.4, 1.0)
RESTORATION_MIXTURE = Mixture(
    weights={
        "noise": 1.6, "blur": 0.9, "rain": 2.6, "low-light": 1.0, "haze": 1.3,
        "low-resolution": 0.8, "raindrop": 1.2, "jpeg": 1.1, "snow": 0.5, "clean": 0.25,
    },
    two_kinds=0.12,
)  # fmt: skip
ASSESSMENT_MIXTURE = Mixture(
    weights={
        "noise": 2.0, "blur": 2.0, "rain": 2.2, "low-light": 0.7, "haze": 2.2,
        "low-resolution": 1.0, "raindrop": 1.4, "jpeg": 0.9, "snow": 0.8, "clean": 2.4,
    },
    two_kinds=0.12,
    saved_as_jpeg=0.25,
)  # fmt: skip
SPECIALIST_WEIGHTS = {
    "noise": 1.6, "jpeg": 1.0, "low-resolution": 1.0, "rain": 2.6, "snow": 0.5, "raindrop": 0.8, "haze": 1.2,
    "low-light": 1.0, "blur": 1.0, "clean": 0.06,
}  # fmt: skip
AFTER_WEATHER = {"noise": 1.0, "jpeg": 0.7, "low-resolution": 0.3}
"""Damage that comes about after rain and snow; *detail* repairs it before *weather* runs."""
SELF_REPAIRED_SHARE = {"weather": 0.2}
"""Dense rain is not gone after one pass."""
SEEN = {"light": ("noise", "jpeg")}
"""Later damage that *light* itself removes: brightening makes faint noise, which nobody found in the dark, visible."""
TURNED = 0.5
"""Share of examples that are turned; sideways photographs are rarer than upright ones, but common.

*weather* sees upright ones alone: it lost 0.9 to 1.2 dB on upright rain (docs/decisions/0052)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options = parser.add_argument_group("AutoDIR stages")
    options.add_argument("--mixture", help="weights of the degradations to draw, as haze=1.3,clean=0.2")
    options.add_argument("--glance", type=Path, help="assessor: weights of the stage glance")
    options.add_argument(
        "--evidence", type=Path, action="append", default=[],
        help="assessor: folder that the command evidence has filled, instead of fresh pictures; repeatable",
    )  # fmt: skip
    options.add_argument(
        "--specialist", action="append", default=[],
        help="weather, assessor: NAME=FILE, weights of a specialist's stage; repeatable",
    )  # fmt: skip
    options.add_argument(
        "--air", type=Path, help="scm: weights of the stage air; without it the SCM learns from the input alone"
    )


def parse_mixture(text: str) -> dict[str, float]:
    """Returns the weights of "haze=1.3,low-light=1" by name.

    Raises:
        TrainingError: a name is unknown, or a weight is not a number.
    """
    weights = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            raise TrainingError(f"got --mixture {part!r}, expected NAME=WEIGHT, as haze=1.3") from None
    if unknown := set(weights) - set(autodir_small.NAMES):
        raise TrainingError(
            f"got --mixture with {', '.join(sorted(unknown))}, expected names of {', '.join(autodir_small.NAMES)}"
        )
    return weights


def parse_specialists(options: Sequence[str]) -> dict[str, Path]:
    """Returns the files of options such as "weather=FILE" by specialist.

    Raises:
        TrainingError: an option does not name a specialist and a file.
    """
    files = {}
    for option in options:
        name, _, path = option.partition("=")
        if name not in autodir_small.SPECIALISTS or not path:
            raise TrainingError(
                f"got --specialist {option!r}, expected NAME=FILE of {', '.join(autodir_small.SPECIALISTS)}"
            )
        files[name] = Path(path)
    return files


def _specialist_weights(specialist: str) -> dict[str, float]:
    """Returns the weights of the degradations of a specialist, and of a few clean pictures."""
    return {name: SPECIALIST_WEIGHTS[name] for name in (*autodir_small.SPECIALISTS[specialist].names, CLEAN)}


RESTORATION_DEFAULTS: dict[str, Any] = {
    "batch": 8, "learning_rate": 1e-3, "mixture": RESTORATION_MIXTURE, "crop": CropConfig(crop_px=128, shrink=SHRINK),
}  # fmt: skip
PUBLISHED_VALIDATION = LoopConfig(sampler="ddim", steps=10)
"""A validation by ten steps; the authors restore with 100 or 200."""
PUBLISHED_MIXTURE = Mixture(weights={name: RESTORATION_MIXTURE.weights[name] for name in AUTODIR_NAMES}, two_kinds=0.0)
PUBLISHED_RESTORATION: dict[str, Any] = {
    "batch": 256, "mixture": PUBLISHED_MIXTURE, "crop": CropConfig(crop_px=256, shrink=SHRINK),
}  # fmt: skip
PUBLISHED_DEFAULTS: dict[str, dict[str, Any]] = {
    "assessor": {
        "batch": 1024, "learning_rate": 3e-6, "weight_decay": 0.0, "mixture": PUBLISHED_MIXTURE,
        "crop": CropConfig(crop_px=224, shrink=SHRINK),
    },
    "air": {**PUBLISHED_RESTORATION, "learning_rate": 1e-4},
    "scm": {**PUBLISHED_RESTORATION, "learning_rate": 1e-3, "steps": 4000},
}  # fmt: skip
"""With `--size published`; the paper does not state the crops of AIR and SCM."""
SPECIALIST_DEFAULTS: dict[str, Any] = {
    "minutes": 110.0, "batch": 16, "learning_rate": 1e-3, "muon": 0.008, "warmup_steps": 50, "ema": 0.998,
    "crop": CropConfig(crop_px=128, shrink=SHRINK, max_grain=MAX_GRAIN, turned=TURNED),
}  # fmt: skip
ASSESSMENT_DEFAULTS: dict[str, Any] = {
    "minutes": 40.0, "batch": 24, "learning_rate": 1e-3, "weight_decay": 1e-3, "mixture": ASSESSMENT_MIXTURE,
    "crop": CropConfig(
        crop_px=autodir_small.GLANCE.vision.image_size, shrink=SHRINK, distant=0.25, softened=0.2, max_grain=MAX_GRAIN,
        turned=TURNED,
    ),
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "glance": ASSESSMENT_DEFAULTS,
    "assessor": {**ASSESSMENT_DEFAULTS, "weight_decay": 0.02},
    "air": {**RESTORATION_DEFAULTS, "minutes": 60.0},
    "scm": {**RESTORATION_DEFAULTS, "minutes": 90.0},
    "detail": {**SPECIALIST_DEFAULTS, "mixture": Mixture(weights=_specialist_weights("detail"), two_kinds=0.08)},
    "weather": {
        **SPECIALIST_DEFAULTS,
        "mixture": Mixture(weights=_specialist_weights("weather"), two_kinds=0.15, second_weights=AFTER_WEATHER),
        "crop": CropConfig(crop_px=128, shrink=SHRINK, max_grain=MAX_GRAIN, striped=0.15),
    },
    "light": {
        **SPECIALIST_DEFAULTS,
        "batch": 4,
        "mixture": Mixture(
            weights={**_specialist_weights("light"), CLEAN: 0.15}, two_kinds=0.15,
            second_weights={"noise": 1.0, "jpeg": 0.5},
        ),
        "crop": CropConfig(crop_px=256, shrink=SHRINK, max_grain=MAX_GRAIN, turned=TURNED),
    },
    "blur": {**SPECIALIST_DEFAULTS, "mixture": Mixture(weights=_specialist_weights("blur"), two_kinds=0.0)},
}  # fmt: skip
"""The fields of `RunConfig` that differ from its own defaults, by stage."""


def text_file(path: Path | None) -> Path:
    """Returns the path.

    Raises:
        TrainingError: it is None.
    """
    if path is None:
        raise TrainingError("got no --text. Train it first: python -m models.training text --out FILE")
    return path


def text_assessor(path: Path | None, names: Sequence[str] = autodir_small.NAMES) -> Assessor:
    """Returns the small assessor with its trained text encoder, frozen; its states condition AIR."""
    assessor = Assessor(autodir_small.GLANCE, names).eval().requires_grad_(False)
    load_text_encoder(assessor.clip, text_file(path))
    assessor.forget_prompts()
    return assessor


def air_contexts(path: Path | None, names: Sequence[str] = autodir_small.NAMES, phrasings: int = 48) -> Contexts:
    """Returns the conditions of AIR from a trained text encoder."""
    return contexts_of(text_assessor(path, names), phrasings)


def contexts_of(assessor: Assessor, phrasings: int = 48) -> Contexts:
    """Returns the conditions of AIR: class prompts (masked), the null prompt and users' phrasings (unmasked)."""
    rng = np.random.default_rng(0)
    with torch.no_grad():
        texts = [[phrase(name, rng) for _ in range(phrasings)] for name in assessor.names]
        return Contexts(
            prompts=assessor.prompts()[0],
            null=assessor.user_states([""])[0],
            phrasings=torch.stack([assessor.user_states(row) for row in texts]),
        )


def published_contexts(base: PublishedBase, names: tuple[str, ...]) -> Contexts:
    """Returns the conditions of AIR as published: the class prompts alone."""
    assessor = base.assessor(names)
    prompts = assessor.prompts()[0]
    return Contexts(prompts=prompts, null=assessor.user_states([""])[0], phrasings=prompts[:, None])


def _published_names(data: TrainingData) -> tuple[str, ...]:
    return data.with_own(AUTODIR_NAMES)


def _published_assessor(run: RunConfig, data: TrainingData, base: PublishedBase) -> tuple[Stage, object]:
    if base.text_only:
        raise TrainingError(f"{base.path} has no image encoder of CLIP. Give --base CLIP ViT-L/14, or AutoDIR itself.")
    config = AssessorStageConfig(network=base.clip)
    run = replace(run, crop=replace(run.crop, crop_px=base.clip.vision.image_size))
    return AssessorStage(config, run, data, _published_names(data), base.read("clip")), config


def _published_air(run: RunConfig, data: TrainingData, base: PublishedBase) -> tuple[Stage, object]:
    denoiser, names = base.denoiser(), _published_names(data)
    config = AIRStageConfig(network=denoiser.config, validation=PUBLISHED_VALIDATION)
    stage = AIRStage(config, run, data, names, published_contexts(base, names))
    stage.network.load_state_dict(denoiser.state_dict())
    return stage, config


def _published_scm(run: RunConfig, data: TrainingData, base: PublishedBase, air: Path | None) -> tuple[Stage, object]:
    denoiser, names = base.denoiser(), _published_names(data)
    if air is not None:
        filled(denoiser, air)
    denoiser.to(run.device)
    config = SCMStageConfig(network=base.scm or NAFNetConfig(), validation=PUBLISHED_VALIDATION)
    frozen = FrozenAIR(denoiser, published_contexts(base, names).prompts)
    stage = SCMStage(config, run, data, names, frozen)
    base.fill_correction(stage.network)
    return stage, config


def glance(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> tuple[Stage, object]:
    config = AssessorStageConfig(network=autodir_small.GLANCE, cross_entropy=1.0, clean_weight=0.12, twins=0.25)
    return AssessorStage(config, run, data, data.with_own(autodir_small.NAMES), text_file(arguments.text)), config


def assessor(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> tuple[Stage, object]:
    if arguments.size == "published":
        return _published_assessor(run, data, open_base(arguments.base))
    config = AssessorStageConfig(
        network=autodir_small.CLIP, cross_entropy=1.0, twins=0.05, repaired_share=0.15, replay=9
    )
    files = parse_specialists(arguments.specialist)
    specialists = load_specialists(autodir_small.SPECIALISTS, files, run.device)
    names = data.with_own(autodir_small.NAMES)
    stage = AssessorStage(config, run, data, names, text_file(arguments.text), specialists)
    if arguments.glance is None:
        raise TrainingError("got no --glance. Train it first: python -m models.training glance --out DIR")
    missing = [name for name in autodir_small.ASSESSOR_SPECIALISTS if name not in files]
    if missing:
        raise TrainingError(
            f"got no --specialist {missing[0]}=FILE. Train it first: python -m models.training {missing[0]} --out DIR"
        )
    restorers = [specialists.networks[name] for name in autodir_small.ASSESSOR_SPECIALISTS]
    load_trained_encoders(stage.assessor, arguments.glance, restorers)
    if arguments.evidence:
        stage.use_stored(read_evidence(arguments.evidence, names))
    return stage, config


def air(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> tuple[Stage, object]:
    if arguments.size == "published":
        return _published_air(run, data, open_base(arguments.base))
    config = AIRStageConfig(network=autodir_small.AIR, timesteps=(800, 999), noisiest_share=0.5, prompt_blend=0.3)
    names = data.with_own(autodir_small.NAMES)
    return AIRStage(config, run, data, names, air_contexts(arguments.text, names)), config


def scm(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> tuple[Stage, object]:
    if arguments.size == "published":
        return _published_scm(run, data, open_base(arguments.base), arguments.air)
    config = SCMStageConfig(
        network=autodir_small.SCM, timesteps=(999, 999), sampler=autodir_small.LOOP, loss="rmse", diffused_share=0.9,
        residual=0.3, replay=3,
    )  # fmt: skip
    frozen, names = None, data.with_own(autodir_small.NAMES)
    if arguments.air is not None:
        network = filled(AIR(autodir_small.AIR), arguments.air).to(run.device)
        frozen = FrozenAIR(network, text_assessor(arguments.text, names).prompts()[0])
    return SCMStage(config, run, data, names, frozen), config


def specialist(run: RunConfig, data: TrainingData, arguments: argparse.Namespace) -> tuple[Stage, object]:
    """The stages `detail`, `weather`, `light` and `blur`, each named after its specialist."""
    name = arguments.command
    own = autodir_small.SPECIALISTS[name]
    config = SpecialistStageConfig(
        names=_own_names(own.names, data),
        network=own.network,
        self_repaired_share=SELF_REPAIRED_SHARE.get(name, 0.0),
        sees=SEEN.get(name, ()),
    )
    others = load_specialists(autodir_small.SPECIALISTS, parse_specialists(arguments.specialist), run.device)
    return SpecialistStage(config, run, data, others), config


def _own_names(names: tuple[str, ...], data: TrainingData) -> tuple[str, ...]:
    """Returns the degradations that a specialist is trained on: its own, those of own pairs, or the latter alone."""
    own = data.pairs.names if data.pairs else ()
    return own if data.photos is None else tuple(dict.fromkeys((*names, *own)))


RECIPES: dict[str, Callable[[RunConfig, TrainingData, argparse.Namespace], tuple[Stage, object]]] = {
    "glance": glance,
    "assessor": assessor,
    "air": air,
    "scm": scm,
    **dict.fromkeys(autodir_small.SPECIALISTS, specialist),
}
