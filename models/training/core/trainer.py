"""The training loop that all stages share: schedule, moving average, validation, resumable checkpoints.

A stage supplies the network, the loss of a batch and the validation.  `--resume` continues a killed run from its last
validation, and an interrupted one (Ctrl-C, SIGTERM) from its last step: `last.pt` holds weights, optimizer, step count
and elapsed time.

Several processes (models.training.data.share) average their gradients and so keep equal weights.  The first one
validates, writes the files, and its clock counts.
"""

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from safetensors.torch import save_file
from torch import Tensor, nn

from models.errors import TrainingError
from models.training.core.batch_statistics import share_statistics
from models.training.core.optimizers import MuonAdamW
from models.training.core.run_config import RunConfig
from models.training.core.stop_request import StopRequest
from models.training.core.weights_file import filled
from models.training.data.dataset import Example
from models.training.data.photos import Image
from models.training.data.share import ALONE, Draws, Share, lost_process


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The result of a validation.

    Attributes:
        score: larger is better; the weights with the largest score are kept as the best.
        figures: measured values by name, for the log.
        pictures: one contact sheet.
    """

    score: float
    figures: dict[str, float]
    pictures: Image | None = None


class Stage(Protocol):
    """What the trainer needs of a stage."""

    name: str
    network: nn.Module  # the trained network; other networks of the stage are frozen
    partial: bool  # whether some steps use only a part of the network

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        """Yield this process's share of each batch, beginning with example number `start`."""
        ...

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        """Returns the mean over these rows, or with several processes the same loss of the whole batch in each."""
        ...

    def validate(self, network: nn.Module) -> Validation:
        """Score these weights (the moving average) on held-out photographs."""
        ...


@dataclass
class TrainingState:
    """The progress of a run, which a checkpoint stores beside the weights."""

    step: int = 0
    elapsed_s: float = 0.0
    best: float = -math.inf


class Objective(nn.Module):
    """The loss of a stage as a module, whose gradients DistributedDataParallel can average."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.network, self._stage = stage.network, stage

    def forward(self, batch: Example, draws: Draws) -> Tensor:
        return self._stage.loss(batch, draws)


class Trainer:
    """Trains a stage until its budget of steps or minutes is used up.

    Args:
        share: the part of each batch that this process trains; all processes call the same methods.
        stop: a request to end, of which one of several processes tells the others.

    Raises:
        TrainingError: the batch cannot be divided among the processes.
    """

    def __init__(
        self, stage: Stage, run: RunConfig, device: torch.device, stage_config: object, *, share: Share = ALONE,
        stop: StopRequest | None = None,
    ) -> None:  # fmt: skip
        if run.batch % share.count:
            raise TrainingError(
                f"got a batch of {run.batch} for {share.count} processes. They divide it: "
                f"give --batch a multiple of {share.count}."
            )
        self.stage, self.run_config, self.device = stage, run, device
        self.share, self.stop = share, stop or StopRequest()
        self.out = run.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.network: nn.Module = stage.network.to(device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
        share_statistics(self.network, share)
        self._objective: nn.Module = Objective(stage)
        self.parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        named = [(name, value) for name, value in self.network.named_parameters() if value.requires_grad]
        self.optimizer = MuonAdamW(
            named, getattr(self.network, "PIXEL_LAYERS", ()), muon=run.muon, adamw=run.learning_rate,
            weight_decay=run.weight_decay,
        )  # fmt: skip
        self.average = self._start_average()
        self.state = TrainingState()
        self._config = {"run": asdict(run), stage.name: asdict(stage_config)}  # type: ignore[call-overload]

    def resume(self) -> None:
        """Continue from `last.pt`.

        Raises:
            TrainingError: the file is missing, or belongs to another network or optimizer.
        """
        path = self.out / "last.pt"
        if not path.exists():
            raise TrainingError(f"{path} does not exist: nothing to resume. Omit --resume to start a new run.")
        saved = torch.load(path, map_location=self.device, weights_only=True)
        try:
            self.network.load_state_dict(saved["network"])
        except RuntimeError as error:
            raise TrainingError(f"{path} does not fit this configuration: {error}") from error
        self.average = saved["average"] if self.share.first else {}
        try:
            self.optimizer.load_state_dict(saved["optimizer"])
        except (KeyError, ValueError) as error:
            raise TrainingError(
                f"{path} was written with another optimizer ({error}). Use the same --muon, or --start-from."
            ) from error
        self.state = TrainingState(**saved["at"])

    def start_from(self, path: Path) -> None:
        """Start with the weights of another run; step count and optimizer are new.

        Raises:
            TrainingError: the weights do not fit.
        """
        filled(self.network, path)
        self.average = self._start_average()

    def _start_average(self) -> dict[str, Tensor]:
        """Returns a copy of the weights; empty in the processes that do not validate."""
        if not self.share.first:
            return {}
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def train(self, console: Console, on_step: Callable[[TrainingState], None] | None = None) -> Validation:
        """Train until the budget is used up and return the best validation.

        Raises:
            KeyboardInterrupt: a signal asked for the end; the first process has saved the last step.
        """
        run, state, share = self.run_config, self.state, self.share
        self._connect()
        if share.first:
            _write_json(self.out / "config.json", self._config)
        examples = self.stage.examples(state.step * run.batch, share)
        best, loss, validated_s, last_s = None, None, state.elapsed_s, time.monotonic()
        with Progress(
            TextColumn(f"{self.stage.name} {{task.description}}"), BarColumn(), TextColumn("{task.percentage:>5.1f}%"),
            TimeElapsedColumn(), console=console, transient=True, disable=not (console.is_terminal and share.first),
        ) as bar:  # fmt: skip
            task = bar.add_task("", total=1.0)
            while self.fraction() < 1:
                try:
                    loss = self._step(next(examples))
                    state.step += 1
                    loss, state.elapsed_s = self._agreed(loss, state.elapsed_s + time.monotonic() - last_s)
                except BaseException as error:
                    if isinstance(error, KeyboardInterrupt | SystemExit) or lost_process(error, share):
                        self._save(self.network.state_dict())
                    raise
                last_s = time.monotonic()
                bar.update(task, completed=min(self.fraction(), 1), description=f"step {state.step} loss {loss:.4f}")
                if on_step:
                    on_step(state)
                if state.elapsed_s - validated_s >= run.validate_every_s:
                    best = self._validated(console, loss) or best
                    validated_s, last_s = state.elapsed_s, time.monotonic()
            final = self._validated(console, loss) or best
        return final or Validation(score=state.best, figures={})

    def fraction(self) -> float:
        """Returns the used share of the budget."""
        run = self.run_config
        return self.state.step / run.steps if run.steps is not None else self.state.elapsed_s / (60 * run.minutes)

    def _connect(self) -> None:
        """Let several processes average their gradients, from the weights of the first one."""
        share = self.share
        if share.count == 1:
            return
        if share.sums([float(self.state.step)])[0] != share.count * self.state.step:
            raise TrainingError(
                f"the processes would resume at different steps, this one at {self.state.step}. "
                f"All machines must see the same folder {self.out}."
            )
        # Torch warns that the gradient of a 1 x 1 kernel could be laid out in another order
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self._objective = nn.parallel.DistributedDataParallel(
            self._objective, find_unused_parameters=self.stage.partial, gradient_as_bucket_view=True
        )

    def _agreed(self, loss: float, elapsed_s: float) -> tuple[float, float]:
        """Returns the mean loss of all processes, and the elapsed time of the first.

        Raises:
            KeyboardInterrupt: one of the processes was asked to end.
        """
        share = self.share
        stops = self.stop.received is not None
        total, elapsed_s, stopped = share.sums([loss, elapsed_s if share.first else 0.0, float(stops)])
        if stopped:
            raise KeyboardInterrupt
        return total / share.count, elapsed_s

    def _validated(self, console: Console, loss: float | None) -> Validation | None:
        """Validate in the first process, while the others wait; returns the validation if it is the best so far."""
        best = None
        if self.share.first:
            try:
                with self.stop.at_once():
                    best = self._validate(console, loss)
            except KeyboardInterrupt:
                if self.share.count == 1:
                    raise
        self._agreed(0.0, 0.0)  # waits, and tells the others of an interruption
        return best

    def _step(self, batch: Example) -> float:
        run, state = self.run_config, self.state
        warmup = min(1.0, (state.step + 1) / max(run.warmup_steps, 1))
        rate = warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(self.fraction(), 1))))
        generator = torch.Generator().manual_seed(run.seed * 1_000_003 + state.step)
        batch = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        self.network.train()
        bf16 = self.device.type == "cuda" if run.bf16 is None else run.bf16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            loss: Tensor = self._objective(batch, Draws(generator, self.share))
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, run.clip_norm)
        if bool(torch.isfinite(norm)):  # one bad batch must not end hours of training
            self.optimizer.step(rate)
            if self.share.first:
                self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average toward the weights; fast at first, so that the random initialization is forgotten."""
        keep = min(self.run_config.ema, (1 + self.state.step) / (10 + self.state.step))
        for name, value in self.network.state_dict().items():
            if value.dtype.is_floating_point:
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    @torch.no_grad()
    def _validate(self, console: Console, loss: float | None) -> Validation | None:
        """Validate the average and save a checkpoint; returns the validation if it is the best so far.

        `loss` is that of the last step; None: the run made no step.
        """
        state = self.state
        live = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        self.network.eval()
        try:
            result = self.stage.validate(self.network)
        except (KeyboardInterrupt, SystemExit):
            self.network.load_state_dict(live)
            self._save(live)
            raise
        better = result.score > state.best
        if better:
            state.best = result.score
            save_weights(self.average, self.out / "best.safetensors")
        self.network.load_state_dict(live)
        self._save(live)
        row = {
            "step": state.step, "minutes": round(state.elapsed_s / 60, 2),
            **({} if loss is None else {"loss": float(f"{loss:.7g}")}), "score": result.score, **result.figures,
        }  # fmt: skip
        logged = {key: value if key == "loss" else _rounded(value) for key, value in row.items()}
        with (self.out / "log.jsonl").open("a") as log:
            log.write(json.dumps(logged) + "\n")
        console.print(" ".join(f"{key} {_rounded(value)}" for key, value in row.items()) + (" *" if better else ""))
        if result.pictures is not None:
            save_picture(result.pictures, self.out / "validation.png")
        return result if better else None

    def _save(self, live: dict[str, Tensor]) -> None:
        if not self.share.first:
            return
        checkpoint = {
            "network": live, "average": self.average, "optimizer": self.optimizer.state_dict(),
            "at": asdict(self.state),
        }  # fmt: skip
        partial = self.out / "last.part"
        torch.save(checkpoint, partial)
        partial.replace(self.out / "last.pt")


def _rounded(value: float) -> float:
    return round(value, 4)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, default=str) + "\n")


def save_weights(state: dict[str, Any], path: Path) -> None:
    """Write tensors to a safetensors file, atomically."""
    partial = path.with_suffix(".part")
    save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, partial)
    partial.replace(path)


def save_picture(image: Image, path: Path) -> None:
    """Write (H, W, 3) in [0, 1] as PNG."""
    pixels = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    cv2.imwrite(str(path), pixels[..., ::-1])
