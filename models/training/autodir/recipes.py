"""How `autodir-small` is trained: the stages' configurations, and what the command line may change of them."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.errors import TrainingError
from models.training.autodir import autodir_small
from models.training.autodir.air_estimate import Estimator
from models.training.autodir.air_stage import AIRStage, AIRStageConfig, Contexts
from models.training.autodir.assessor_stage import AssessorConfig, AssessorStage, begin_as
from models.training.autodir.scm_stage import SCMConfig, SCMStage
from models.training.autodir.second_pass import load_specialists
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.config import RunConfig
from models.training.core.text import load_text_tower
from models.training.core.trainer import Stage
from models.training.daclip import recipes as daclip_recipes
from models.training.data.degradations import Mixture
from models.training.data.photos import QUIET, CropConfig, PhotoPool
from models.training.data.phrases import phrase
from models.vocabulary import CLEAN

Pools = tuple[PhotoPool, PhotoPool]

SHRINK = (0.4, 1.0)
RESTORING = Mixture(
    weights={
        "noise": 1.6, "blur": 0.9, "rain": 2.6, "low-light": 1.0, "haze": 1.3,
        "low-resolution": 0.8, "raindrop": 1.2, "jpeg": 1.1, "snow": 0.5, "clean": 0.25,
    },
    two=0.12,
)  # fmt: skip
ASSESSING = Mixture(
    weights={
        "noise": 2.0, "blur": 2.0, "rain": 2.2, "low-light": 0.7, "haze": 1.8,
        "low-resolution": 1.0, "raindrop": 1.4, "jpeg": 0.9, "snow": 0.8, "clean": 1.2,
    },
    two=0.12,
    saved=0.25,
)  # fmt: skip


def run_config(arguments: argparse.Namespace, device: torch.device) -> RunConfig:
    """The stage's own defaults with the command line's words over them."""
    run = RunConfig(
        images=tuple(arguments.images), out=arguments.out, seed=arguments.seed, device=device.type,
        bf16=arguments.bf16, threads=arguments.threads, loaders=arguments.loaders,
        validate_every_s=arguments.validate_every,
        **DEFAULTS[arguments.stage],
    )  # fmt: skip
    said = {
        "minutes": arguments.minutes, "steps": arguments.steps, "batch": arguments.batch,
        "learning_rate": arguments.learning_rate, "muon": arguments.muon,
        "crop": replace(run.crop, crop_px=arguments.crop) if arguments.crop else None,
        "mixture": replace(run.mixture, weights=shares(arguments.mixture)) if arguments.mixture else None,
    }  # fmt: skip
    return replace(run, **{key: value for key, value in said.items() if value is not None})


def shares(said: str) -> dict[str, float]:
    """The weights of a mixture: "haze=1.3,low-light=1".

    Raises:
        TrainingError: a name or a number is none.
    """
    found = {}
    for part in said.split(","):
        name, _, weight = part.partition("=")
        try:
            found[name.strip()] = float(weight)
        except ValueError:
            raise TrainingError(f"got --mixture {part!r}, expected NAME=WEIGHT, as haze=1.3") from None
    if unknown := set(found) - set(autodir_small.NAMES):
        raise TrainingError(
            f"got --mixture with {', '.join(sorted(unknown))}; the names are {', '.join(autodir_small.NAMES)}"
        )
    return found


def only(specialist: str) -> dict[str, float]:
    """The weights of a specialist's kinds, and a few clean pictures."""
    return {name: SPECIAL[name] for name in (*autodir_small.SPECIALISTS[specialist].names, CLEAN)}


SPECIAL = {
    "noise": 1.6, "jpeg": 1.0, "low-resolution": 1.0, "rain": 2.6, "snow": 0.5, "raindrop": 0.8, "haze": 1.2,
    "low-light": 1.0, "blur": 1.0, "clean": 0.06,
}  # fmt: skip
SPECIALIST: dict[str, Any] = {
    "minutes": 110.0, "batch": 16, "learning_rate": 1e-3, "muon": 0.008, "warmup_steps": 50, "ema": 0.998,
    "crop": CropConfig(crop_px=128, shrink=SHRINK, quiet=QUIET),
}  # fmt: skip
LATER = {"noise": 1.0, "jpeg": 0.7, "low-resolution": 0.3}
"""What comes upon rain later, and is repaired earlier, by *detail*."""
AGAIN = {"weather": 0.2}
"""Dense rain is not gone after one pass."""
ASSESSOR: dict[str, Any] = {
    "minutes": 40.0, "batch": 24, "learning_rate": 1e-3, "weight_decay": 1e-3, "mixture": ASSESSING,
    "crop": CropConfig(crop_px=autodir_small.GLANCE.vision.image_size, shrink=SHRINK, afar=0.25, soft=0.2, quiet=QUIET),
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "glance": ASSESSOR,
    "assessor": {**ASSESSOR, "weight_decay": 0.02},
    "air": {
        "minutes": 60.0, "batch": 8, "learning_rate": 1e-3, "mixture": RESTORING,
        "crop": CropConfig(crop_px=128, shrink=SHRINK),
    },
    "scm": {
        "minutes": 90.0, "batch": 8, "learning_rate": 1e-3, "mixture": RESTORING,
        "crop": CropConfig(crop_px=128, shrink=SHRINK),
    },
    "detail": {**SPECIALIST, "mixture": Mixture(weights=only("detail"), two=0.08)},
    "weather": {
        **SPECIALIST, "mixture": Mixture(weights=only("weather"), two=0.15, beside=LATER),
        "crop": CropConfig(crop_px=128, shrink=SHRINK, quiet=QUIET, striped=0.15),
    },
    "light": {**SPECIALIST, "mixture": Mixture(weights={**only("light"), CLEAN: 0.15}, two=0.0)},
    "blur": {**SPECIALIST, "mixture": Mixture(weights=only("blur"), two=0.0)},
    **daclip_recipes.DEFAULTS,
}  # fmt: skip


def text_side(path: Path | None) -> Assessor:
    """The small assessor with its trained text tower, for the states that condition AIR."""
    assessor = Assessor(autodir_small.GLANCE, autodir_small.NAMES).eval().requires_grad_(False)
    load_text_tower(assessor.clip, text_file(path))
    assessor.forget_prompts()
    return assessor


def contexts(path: Path | None, phrasings: int = 48) -> Contexts:
    """What AIR is told in training: class prompts (masked padding), the null prompt and users' phrasings (unmasked)."""
    assessor = text_side(path)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        words = [[phrase(name, rng) for _ in range(phrasings)] for name in autodir_small.NAMES]
        return Contexts(
            prompts=assessor.prompts()[0],
            null=assessor.user_states([""])[0],
            phrasings=torch.stack([assessor.user_states(row) for row in words]),
        )


def glance(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> tuple[Stage, object]:
    config = AssessorConfig(network=autodir_small.GLANCE, cross_entropy=1.0, clean_weight=0.12, twins=0.25)
    return AssessorStage(config, run, pools, autodir_small.NAMES, text_file(arguments.text)), config


def assessor(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> tuple[Stage, object]:
    config = AssessorConfig(network=autodir_small.CLIP, cross_entropy=1.0, twins=0.05, repaired=0.15, replay=9)
    files = specialist_files(arguments.specialist)
    specialists = load_specialists(autodir_small.SPECIALISTS, files, run.device)
    stage = AssessorStage(config, run, pools, autodir_small.NAMES, text_file(arguments.text), specialists)
    if arguments.glance is None:
        raise TrainingError("got no --glance; make it with: python -m models.training glance --out DIR")
    missing = [key for key in autodir_small.LOOKING if key not in files]
    if missing:
        raise TrainingError(f"got no --specialist {missing[0]}=FILE, which the assessor asks")
    begin_as(stage.assessor, arguments.glance, [specialists.networks[key] for key in autodir_small.LOOKING])
    return stage, config


def specialist_files(said: Sequence[str]) -> dict[str, Path]:
    """From "weather=FILE".

    Raises:
        TrainingError: a name is no specialist's.
    """
    files = {}
    for part in said:
        key, _, path = part.partition("=")
        if key not in autodir_small.SPECIALISTS or not path:
            raise TrainingError(
                f"got --specialist {part!r}, expected NAME=FILE of {', '.join(autodir_small.SPECIALISTS)}"
            )
        files[key] = Path(path)
    return files


def text_file(path: Path | None) -> Path:
    if path is None:
        raise TrainingError("got no --text; make it with: python -m models.training.core.text --out FILE")
    return path


def air(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> tuple[Stage, object]:
    config = AIRStageConfig(network=autodir_small.AIR, timesteps=(800, 999), noisiest=0.5, soften=0.3)
    return AIRStage(config, run, pools, autodir_small.NAMES, contexts(arguments.text)), config


def scm(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> tuple[Stage, object]:
    config = SCMConfig(
        network=autodir_small.SCM, timesteps=(999, 999), sampled=autodir_small.LOOP, loss="rmse", diffused=0.9,
        residual=0.3, replay=3,
    )  # fmt: skip
    estimator = None
    if arguments.air is not None:
        network = AIR(autodir_small.AIR)
        network.load_state_dict(load_file(arguments.air))
        network.to(run.device)
        estimator = Estimator(network, text_side(arguments.text).prompts()[0])
    return SCMStage(config, run, pools, autodir_small.NAMES, estimator), config


def specialist(run: RunConfig, pools: Pools, arguments: argparse.Namespace) -> tuple[Stage, object]:
    """The one that the stage is called after."""
    chosen = autodir_small.SPECIALISTS[arguments.stage]
    config = SpecialistStageConfig(names=chosen.names, network=chosen.network, again=AGAIN.get(arguments.stage, 0.0))
    others = load_specialists(autodir_small.SPECIALISTS, specialist_files(arguments.specialist), run.device)
    return SpecialistStage(config, run, pools, others), config


RECIPES: dict[str, Callable[[RunConfig, Pools, argparse.Namespace], tuple[Stage, object]]] = {
    "glance": glance,
    "assessor": assessor,
    "air": air,
    "scm": scm,
    **dict.fromkeys(autodir_small.SPECIALISTS, specialist),
    **daclip_recipes.RECIPES,
}
