"""AIR and SCM learn a new degradation, for `--strict` (models.autodir.system).

Copies of the bundle's networks are trained on the pairs alone, first AIR, then SCM on its results.  The bundle keeps
its own networks for all other degradations.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import nn

from models.autodir.assessor import Assessor
from models.autodir.restorer import AutoDIR
from models.training.autodir.air_stage import AIRStage, AIRStageConfig
from models.training.autodir.frozen_air import FrozenAIR
from models.training.autodir.recipes import contexts_of
from models.training.autodir.scm_stage import SCMStage, SCMStageConfig
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.trainer import Trainer
from models.training.data.photos import CropConfig
from models.training.learn.plan import LearnPlan, SplitPairs
from models.training.learn.specialist import CLEAN_SHARE, VALIDATIONS

AIR_RATE, SCM_RATE = 3e-4, 5e-4
REPLAYED = 1
"""How often SCM sees each result of AIR again; sampling costs as much as a step."""


@dataclass(frozen=True, kw_only=True)
class TrainedSystem:
    """AIR and SCM, and the steps that their training took."""

    air: nn.Module
    scm: nn.Module
    air_steps: int
    scm_steps: int


def train_system(
    plan: LearnPlan, pairs: SplitPairs, assessor: Assessor, restorer: AutoDIR, device: torch.device, console: Console,
    say: Callable[[str], None],
) -> TrainedSystem:  # fmt: skip
    """Train AIR, then SCM; both continue where an interrupted run stopped.

    Args:
        assessor: knows the new word.
        restorer: the old bundle, whose weights both start with.
    """
    data = TrainingData(pairs=pairs.fit, clean_share=CLEAN_SHARE)
    names, contexts = assessor.names, contexts_of(assessor)
    run = _run(plan, "air", AIR_RATE, device)
    config = AIRStageConfig(
        network=restorer.config.air, timesteps=(800, 999), noisiest_share=0.5, prompt_blend=0.3  # as in its recipe
    )  # fmt: skip
    first = AIRStage(config, run, data, names, contexts)
    _copy(restorer.air, first.network)
    air_steps = _train(first, run, device, console, say)
    assert isinstance(first.network, type(restorer.air))
    run = _run(plan, "scm", SCM_RATE, device)
    correction = SCMStageConfig(
        network=restorer.config.scm, sampler=restorer.config.loop, loss="rmse", diffused_share=0.9, replay=REPLAYED
    )  # fmt: skip
    second = SCMStage(correction, run, data, names, FrozenAIR(first.network, contexts.prompts))
    _copy(restorer.scm, second.network)
    scm_steps = _train(second, run, device, console, say)
    return TrainedSystem(
        air=first.network.cpu(), scm=second.network.cpu(), air_steps=air_steps, scm_steps=scm_steps
    )  # fmt: skip


def _copy(source: nn.Module, target: nn.Module) -> None:
    target.load_state_dict({key: value.float() for key, value in source.state_dict().items()})


def _run(plan: LearnPlan, stage: str, rate: float, device: torch.device) -> RunConfig:
    return RunConfig(
        images=(), out=plan.work / stage, minutes=plan.minutes, steps=plan.steps, batch=plan.batch, seed=plan.seed,
        device=device.type, learning_rate=rate, warmup_steps=20, ema=0.99, loaders=0,
        crop=CropConfig(crop_px=plan.crop_px), validate_every_s=max(20.0, 60 * plan.minutes / VALIDATIONS),
    )  # fmt: skip


def _train(
    stage: AIRStage | SCMStage, run: RunConfig, device: torch.device, console: Console, say: Callable[[str], None]
) -> int:
    """Give the stage's network the weights that did best on the pairs that choose; returns the number of steps."""
    trainer = Trainer(stage, run, device, stage.config)
    if (trainer.out / "last.pt").exists():
        trainer.resume()
        say(f"{stage.name}: continuing at step {trainer.state.step}")
    trainer.train(console)
    stage.network.load_state_dict(load_file(trainer.out / "best.safetensors"))
    stage.network.eval().requires_grad_(False)
    say(f"{stage.name}: {trainer.state.step} steps")
    return trainer.state.step
