"""Fine-tunes a specialist on own pairs, from the weights of the specialist that learns them fastest."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from models.autodir.restorer import AutoDIR
from models.autodir.specialists import SpecialistConfig
from models.networks.drunet import DRUNet, DRUNetConfig
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.trainer import Trainer
from models.training.data.photos import CropConfig
from models.training.learn.plan import LearnPlan, SplitPairs

SCRATCH = "scratch"
SCRATCH_NETWORK = DRUNetConfig(width=32, blocks=(2, 2, 2, 3), patch=2)
TRIAL_STEPS, TRIAL_WARMUP_STEPS, TRIAL_BATCH, TRIAL_CROP_PX = 24, 5, 4, 96
"""After 8 steps, the order of the specialists was still that of their first guesses."""
CLEAN_SHARE = 0.08
"""The share of undamaged crops in training: a repair that is begun by mistake then harms less."""
RATE = 1e-3
MUON, MUON_FROM_SCRATCH = 0.003, 0.008
"""Only on CUDA: torch's Muon multiplies in bfloat16, and a CPU without it takes ten times as long for a step."""
VALIDATIONS = 12


@dataclass(frozen=True, kw_only=True)
class TrainedSpecialist:
    """The network, the specialist that it started from, and the gain in dB on the pairs that chose the weights."""

    network: DRUNet
    config: SpecialistConfig
    start: str
    gain: float
    steps: int


def train_specialist(
    plan: LearnPlan, pairs: SplitPairs, restorer: AutoDIR, device: torch.device, console: Console,
    say: Callable[[str], None],
) -> TrainedSpecialist:  # fmt: skip
    """Train until the budget is used up, and continue where an interrupted run stopped."""
    data = TrainingData(pairs=pairs.fit, clean_share=CLEAN_SHARE)
    start = plan.start or _nearest(plan, data, restorer, device, say)
    trainer = _trainer(plan, data, restorer, device, start)
    if (trainer.out / "last.pt").exists():
        trainer.resume()
        say(f"continuing at step {trainer.state.step}")
    best = trainer.train(console)
    network = DRUNet(_network_config(restorer, start))
    network.load_state_dict(load_file(trainer.out / "best.safetensors"))
    mirrored = _configs(restorer)[start].mirrored if start != SCRATCH else False
    config = SpecialistConfig(names=(plan.name,), network=network.config, mirrored=mirrored)
    return TrainedSpecialist(
        network=network.eval().requires_grad_(False), config=config, start=start, gain=best.score,
        steps=trainer.state.step,
    )  # fmt: skip


def _configs(restorer: AutoDIR) -> dict[str, SpecialistConfig]:
    return restorer.config.specialists


def _network_config(restorer: AutoDIR, start: str) -> DRUNetConfig:
    """Returns the network of the start with line means, which no shipped specialist has."""
    return replace(SCRATCH_NETWORK if start == SCRATCH else _configs(restorer)[start].network, lines=True)


def _stage(plan: LearnPlan, data: TrainingData, restorer: AutoDIR, run: RunConfig, start: str) -> SpecialistStage:
    torch.manual_seed(plan.seed)
    stage = SpecialistStage(
        SpecialistStageConfig(names=(plan.name,), network=_network_config(restorer, start)), run, data
    )
    if start != SCRATCH:
        state: dict[str, Tensor] = restorer.specialists.networks[start].state_dict()
        missing, unexpected = stage.network.load_state_dict(
            {key: value.float() for key, value in state.items()}, strict=False
        )
        assert not unexpected and all(".rows." in key or ".columns." in key for key in missing), (
            "only line means are new"
        )
    return stage


def _run(plan: LearnPlan, out: Path, device: torch.device, start: str, steps: int | None) -> RunConfig:
    scratch = start == SCRATCH
    muon = MUON_FROM_SCRATCH if scratch else MUON
    return RunConfig(
        images=(), out=out, minutes=plan.minutes, steps=steps, batch=plan.batch, seed=plan.seed, device=device.type,
        learning_rate=RATE, muon=muon if device.type == "cuda" else None,
        warmup_steps=20, ema=0.99, loaders=0, crop=CropConfig(crop_px=plan.crop_px),
        validate_every_s=max(20.0, 60 * plan.minutes / VALIDATIONS),
    )  # fmt: skip


def _trainer(plan: LearnPlan, data: TrainingData, restorer: AutoDIR, device: torch.device, start: str) -> Trainer:
    run = _run(plan, plan.work / "specialist", device, start, plan.steps)
    stage = _stage(plan, data, restorer, run, start)
    return Trainer(stage, run, device, stage.config)


def _nearest(
    plan: LearnPlan, data: TrainingData, restorer: AutoDIR, device: torch.device, say: Callable[[str], None]
) -> str:
    """Returns the specialist with the smallest loss after a few steps on the pairs; an earlier answer is kept."""
    note = plan.work / "start.json"
    if note.exists():
        return str(json.loads(note.read_text())["start"])
    losses = {}
    small = replace(plan, batch=min(plan.batch, TRIAL_BATCH), crop_px=min(plan.crop_px, TRIAL_CROP_PX))
    for name in restorer.specialists.networks:
        run = replace(_run(small, plan.work / "trial", device, name, TRIAL_STEPS), warmup_steps=TRIAL_WARMUP_STEPS)
        stage = _stage(plan, data, restorer, run, name)
        gain = Trainer(stage, run, device, stage.config).train(Console(quiet=True)).score
        losses[name] = -gain
        say(f"trial of {name}: {gain:+.2f} dB after {TRIAL_STEPS} steps")
    start = min(losses, key=lambda name: losses[name]) if losses else SCRATCH
    note.write_text(json.dumps({"start": start, "gains": {name: round(-loss, 3) for name, loss in losses.items()}}))
    return start
