"""AIR and SCM learn a new degradation, for `--strict`, and keep their answers on the old ones.

Both start with the weights of the bundle.  Half of the examples are crops of the pairs, whose answer is the undamaged
photo.  The others are replay: synthetic damage of the old kinds, and undamaged photos, where the right answer is that
of the networks before (learning without forgetting, Li & Hoiem 2016, arXiv:1606.09282).

Shapes:  B batch, H W pixels.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.autodir.restorer import AutoDIR
from models.networks.nafnet import NAFNet
from models.training.autodir.air_stage import AIRStage, AIRStageConfig, Noised
from models.training.autodir.frozen_air import FrozenAIR
from models.training.autodir.recipes import RESTORATION_MIXTURE, contexts_of
from models.training.autodir.scm_stage import SCMStage, SCMStageConfig
from models.training.core.run_config import RunConfig
from models.training.core.sources import MIXED_SHARE, TrainingData
from models.training.core.trainer import Trainer
from models.training.data.dataset import Example
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig, PhotoPool
from models.training.learn.assessor import known_synthetic
from models.training.learn.plan import LearnPlan, SplitPairs
from models.training.learn.specialist import CLEAN_SHARE, VALIDATIONS
from models.vocabulary import CLEAN

N = TypeVar("N", AIR, NAFNet)

AIR_RATE, SCM_RATE = 3e-4, 5e-4
SHRINK = (0.4, 1.0)
REPLAYED = 1
"""How often the correction module sees an example of AIR again; sampling costs as much as a step."""


@dataclass(frozen=True, kw_only=True)
class TrainedSystem:
    """AIR and SCM, and the steps that their training took."""

    air: AIR
    scm: NAFNet
    air_steps: int
    scm_steps: int


class TaughtAIR(AIRStage):
    """Trains AIR on a new degradation; for all others its target is the answer of AIR before."""

    def __init__(self, before: AIR, new: int, *stage: object) -> None:
        super().__init__(*stage)  # type: ignore[arg-type]  # the arguments of AIRStage
        self.new, self.before = new, before
        self.network.load_state_dict(before.state_dict())

    def draw(self, batch: Example, generator: torch.Generator) -> Noised:
        drawn = super().draw(batch, generator)
        self.before.to(drawn.z.device)
        with torch.no_grad():
            answer = self.before.predict(drawn.z, drawn.z_image, drawn.timesteps, drawn.context).float()
        return replace(drawn, target=_where_old(batch, self.new, answer, drawn.target))


class TaughtSCM(SCMStage):
    """Trains SCM on a new degradation; for all others its target is the answer of SCM before."""

    def __init__(self, before: NAFNet, new: int, *stage: object) -> None:
        super().__init__(*stage)  # type: ignore[arg-type]  # the arguments of SCMStage
        self.new, self.before = new, before
        self.network.load_state_dict(before.state_dict())

    def draw(self, batch: Example, generator: torch.Generator) -> Tensor:
        degraded, diffused, target = super().draw(batch, generator).unbind(1)
        self.before.to(degraded.device)
        with torch.no_grad():
            answer = self.before(degraded, diffused).float()
        return torch.stack([degraded, diffused, _where_old(batch, self.new, answer, target)], dim=1)


def _where_old(batch: Example, new: int, answer: Tensor, target: Tensor) -> Tensor:
    """Returns the earlier answer for examples of old degradations, the true target for those of the new one."""
    return torch.where((batch["label"] != new)[:, None, None, None], answer, target)


def train_system(
    plan: LearnPlan, pairs: SplitPairs, pools: tuple[PhotoPool, PhotoPool], assessor: Assessor, restorer: AutoDIR,
    device: torch.device, console: Console, say: Callable[[str], None],
) -> TrainedSystem:  # fmt: skip
    """Train AIR, then SCM on its results; both continue where an interrupted run stopped.

    Args:
        pools: undamaged photos for the replay: to train, and held out.
        assessor: knows the new word.
    """
    data = TrainingData(photos=pools, pairs=pairs.fit, share=MIXED_SHARE, clean_share=CLEAN_SHARE)
    names, new = assessor.names, assessor.names.index(plan.name)
    contexts = contexts_of(assessor)
    before, loop = _copied(restorer.air), restorer.config.loop
    run = _run(plan, "air", names, device)
    config = AIRStageConfig(
        network=before.config, timesteps=(800, 999), noisiest_share=0.5, prompt_blend=0.3  # as in its recipe
    )  # fmt: skip
    air, air_steps = _trained(TaughtAIR(before, new, config, run, data, names, contexts), run, device, console, say)
    assert isinstance(air, AIR)
    run = _run(plan, "scm", names, device)
    correction = SCMStageConfig(
        network=restorer.scm.config, sampler=loop, loss="rmse", diffused_share=0.9, replay=REPLAYED
    )  # fmt: skip
    frozen = FrozenAIR(deepcopy(air).to(device), contexts.prompts)
    stage = TaughtSCM(_copied(restorer.scm), new, correction, run, data, names, frozen)
    scm, scm_steps = _trained(stage, run, device, console, say)
    assert isinstance(scm, NAFNet)
    return TrainedSystem(air=air.cpu(), scm=scm.cpu(), air_steps=air_steps, scm_steps=scm_steps)


def _copied(network: N) -> N:
    return deepcopy(network).float().eval().requires_grad_(False)


def _run(plan: LearnPlan, stage: str, names: tuple[str, ...], device: torch.device) -> RunConfig:
    synthetic = known_synthetic(names)
    weights = {name: RESTORATION_MIXTURE.weights[name] for name in synthetic}
    return RunConfig(
        images=(), out=plan.work / stage, minutes=plan.minutes, steps=plan.steps, batch=plan.batch, seed=plan.seed,
        device=device.type, learning_rate=AIR_RATE if stage == "air" else SCM_RATE, warmup_steps=20, ema=0.99,
        loaders=0, crop=CropConfig(crop_px=plan.crop_px, shrink=SHRINK),
        mixture=Mixture(weights=weights, two_kinds=0.12 if len([n for n in synthetic if n != CLEAN]) > 1 else 0.0),
        validate_every_s=max(20.0, 60 * plan.minutes / VALIDATIONS),
    )  # fmt: skip


def _trained(
    stage: TaughtAIR | TaughtSCM, run: RunConfig, device: torch.device, console: Console, say: Callable[[str], None]
) -> tuple[nn.Module, int]:
    """Train a stage; returns the network with the best weights, and the number of steps."""
    trainer = Trainer(stage, run, device, stage.config)
    if (trainer.out / "last.pt").exists():
        trainer.resume()
        say(f"{stage.name}: continuing at step {trainer.state.step}")
    trainer.train(console)
    network = stage.network
    network.load_state_dict(load_file(trainer.out / "best.safetensors"))
    say(f"{stage.name}: {trainer.state.step} steps, {trainer.state.best:+.2f} dB on held-out photos, all kinds")
    return network.eval().requires_grad_(False), trainer.state.step
