"""Samplers as arithmetic on one step: no model, no clock, no progress bar.

Every sampler here moves an image by

    x' = keep * x + clean * D + earlier * D_before + spread * noise

with D the network's estimate of the clean latent, D_before that of the previous step, and four numbers that depend only
on the image's own step in its own plan.  So a batch may hold images at different steps of different plans: its
coefficients are stacked rows.

Shapes:  B images, n steps.  Latents are (B, C, h, w) in scaled latent space (about unit variance when clean).

There are two state spaces.  Euler ancestral works on x = z + sigma eps (Karras et al. 2022, arXiv:2206.00364), the
other two on the variance-preserving x = alpha z + sqrt(1 - alpha^2) eps.  `input_scale` scales x to the input of the
network.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.device import to_device

Floats = NDArray[np.float64]


class NoiseSchedule:
    """Stable Diffusion's schedule: betas linear in their square roots, 0.00085 to 0.012 over 1000 steps.

    `terminal_signal` is the amplitude of the clean latent at timestep 999; None keeps the published 0.068.  That
    amplitude reveals the mean of a patch of 8 x 8 pixels, which a sampler that starts from noise does not know.  The
    other amplitudes are shifted and stretched with it (Lin et al. 2023, arXiv:2305.08891, Algorithm 1).
    """

    def __init__(self, terminal_signal: float | None = None) -> None:
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        kept = np.cumprod(1 - betas).astype(np.float32)  # the published buffers are float32, and so are their sigmas
        if terminal_signal is not None:
            root = np.sqrt(kept)
            stretched = (root - root[-1]) * (root[0] - terminal_signal) / (root[0] - root[-1]) + terminal_signal
            kept = (stretched**2).astype(np.float32)
        self._log_sigmas: Floats = np.log(np.sqrt((1 - kept) / kept)).astype(np.float64)
        self.alphas_cumprod = torch.from_numpy(kept)  # (1000,)

    @property
    def last(self) -> int:
        """The noisiest timestep, 999."""
        return len(self._log_sigmas) - 1

    def at(self, timesteps: Tensor) -> Tensor:
        """Returns a_t = alpha^2 at fractional timesteps, interpolated linearly: (B,) -> (B,) float32."""
        kept = self.alphas_cumprod.to(timesteps.device)
        position = timesteps.float().clamp(0, self.last)
        below = position.floor().long()
        return torch.lerp(kept[below], kept[(below + 1).clamp(max=self.last)], position - below)

    def sigma(self, timestep: float) -> float:
        """Returns sqrt((1 - a) / a) at a fractional timestep, interpolated in log sigma."""
        return math.exp(float(np.interp(timestep, np.arange(len(self._log_sigmas)), self._log_sigmas)))

    def timestep(self, sigma: float) -> float:
        """Returns the fractional timestep of a sigma, clamped to the schedule."""
        return float(np.interp(math.log(sigma), self._log_sigmas, np.arange(len(self._log_sigmas))))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One row of a plan.

    `alpha` and `sigma` describe the network's input: alpha^2 + sigma^2 = 1; `timestep` may be fractional.
    """

    timestep: float
    input_scale: float
    alpha: float
    sigma: float
    keep: float
    clean: float
    earlier: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class Plan:
    """All steps of one image from noise to latent; the first x is a standard normal draw times `initial_scale`."""

    steps: tuple[Step, ...]
    initial_scale: float

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Step:
        return self.steps[index]


@dataclass(frozen=True, kw_only=True)
class StepCoefficients:
    """The rows of a batch as tensors: `timestep` (B,), the others (B, 1, 1, 1)."""

    timestep: Tensor
    input_scale: Tensor
    alpha: Tensor
    sigma: Tensor
    keep: Tensor
    clean: Tensor
    earlier: Tensor
    spread: Tensor

    @classmethod
    def stack(cls, rows: Sequence[Step], device: torch.device | str = "cpu") -> "StepCoefficients":
        """Stack one row an image; the whole table reaches the device in one copy."""
        names = [entry.name for entry in fields(Step)]
        host = torch.tensor([[getattr(row, name) for row in rows] for name in names], dtype=torch.float32)
        columns = dict(zip(names, to_device(host, torch.device(device)), strict=True))
        return cls(
            **{name: column if name == "timestep" else column[:, None, None, None] for name, column in columns.items()}
        )


def euler_ancestral(schedule: NoiseSchedule, steps: int, end: float = 0.0) -> Plan:
    """k-diffusion's Euler ancestral sampler, eta 1, as AutoDIR runs it: t = linspace(999, 0, n), sigma 0 appended."""
    sigmas = [schedule.sigma(t) for t in np.linspace(schedule.last, end, steps)] + [0.0]
    rows = []
    for sigma, after in pairwise(sigmas):
        up = math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2) if after else 0.0
        down = math.sqrt(after**2 - up**2)
        norm = 1 / math.sqrt(sigma**2 + 1)
        rows.append(
            Step(
                timestep=schedule.timestep(sigma), input_scale=norm, alpha=norm, sigma=sigma * norm,
                keep=down / sigma, clean=1 - down / sigma, spread=up,
            )
        )  # fmt: skip
    return Plan(tuple(rows), initial_scale=sigmas[0])


def _variance_preserving(
    schedule: NoiseSchedule, steps: int, end: float
) -> tuple[list[float], list[float], list[float]]:
    """Returns equally spaced timesteps from 999 toward `end`, and their alphas and sigmas plus a pair without noise."""
    timesteps = [schedule.last - (schedule.last - end) * i / steps for i in range(steps)]
    ratios = [schedule.sigma(t) for t in timesteps]
    alphas = [1 / math.sqrt(1 + ratio**2) for ratio in ratios]
    sigmas = [ratio * alpha for ratio, alpha in zip(ratios, alphas, strict=True)]
    return timesteps, [*alphas, 1.0], [*sigmas, 0.0]


def ddim(schedule: NoiseSchedule, steps: int, end: float = 0.0) -> Plan:
    """Deterministic DDIM (Song et al. 2021, arXiv:2010.02502, Eq. 12 with eta 0)."""
    timesteps, alphas, sigmas = _variance_preserving(schedule, steps, end)
    rows = []
    for i, timestep in enumerate(timesteps):
        keep = sigmas[i + 1] / sigmas[i]
        clean = alphas[i + 1] - alphas[i] * keep
        rows.append(
            Step(timestep=timestep, input_scale=1.0, alpha=alphas[i], sigma=sigmas[i], keep=keep, clean=clean)
        )  # fmt: skip
    return Plan(tuple(rows), initial_scale=1.0)


def dpm_solver_2m(schedule: NoiseSchedule, steps: int, end: float = 0.0) -> Plan:
    """DPM-Solver++ 2M (Lu et al. 2022, arXiv:2211.01095, Algorithm 2); the first and last steps are of first order."""
    timesteps, alphas, sigmas = _variance_preserving(schedule, steps, end)
    half_snr = [math.log(alpha / sigma) for alpha, sigma in zip(alphas[:-1], sigmas[:-1], strict=True)]
    rows = []
    for i, timestep in enumerate(timesteps):
        keep, last = sigmas[i + 1] / sigmas[i], i + 1 == steps
        clean = alphas[i + 1] - alphas[i] * keep  # alpha' (1 - e^-h)
        share = 0.0
        if i > 0 and not last:
            share = (half_snr[i + 1] - half_snr[i]) / (2 * (half_snr[i] - half_snr[i - 1]))  # 1 / (2 r)
        rows.append(
            Step(
                timestep=timestep, input_scale=1.0, alpha=alphas[i], sigma=sigmas[i],
                keep=keep, clean=clean * (1 + share), earlier=-clean * share,
            )
        )  # fmt: skip
    return Plan(tuple(rows), initial_scale=1.0)


SAMPLERS: dict[str, Callable[[NoiseSchedule, int, float], Plan]] = {
    "euler-ancestral": euler_ancestral,
    "ddim": ddim,
    "dpm++2m": dpm_solver_2m,
}


def plan(name: str, schedule: NoiseSchedule, steps: int, end: float = 0.0) -> Plan:
    """Returns the plan of a named sampler with steps from timestep 999 to `end`; the last step removes all noise.

    With `end` above 0 the last estimate is made where the noise is still strong.  A small denoiser that was mostly
    trained there adds more error than detail below.

    Raises:
        ValueError: the sampler is unknown, or there is fewer than one step.
    """
    if name not in SAMPLERS:
        raise ValueError(f"got sampler {name!r}, expected one of {', '.join(SAMPLERS)}")
    if steps < 1:
        raise ValueError(f"got {steps} steps, expected at least 1")
    return SAMPLERS[name](schedule, steps, end)


def denoised_from(prediction: str, scaled: Tensor, output: Tensor, at: StepCoefficients) -> Tensor:
    """Returns the clean latent (B, C, h, w) from the network's output at its input `scaled` = input_scale * x.

    "epsilon": (x - sigma eps) / alpha;  "v_prediction": alpha x - sigma v (Salimans & Ho 2022, arXiv:2202.00512).
    """
    if prediction == "epsilon":
        return (scaled - at.sigma * output) / at.alpha
    return at.alpha * scaled - at.sigma * output


def advance(x: Tensor, denoised: Tensor, earlier: Tensor, noise: Tensor, at: StepCoefficients) -> Tensor:
    """Returns x after this step; `earlier` is the previous `denoised` (any value where its coefficient is 0)."""
    return at.keep * x + at.clean * denoised + at.earlier * earlier + at.spread * noise
