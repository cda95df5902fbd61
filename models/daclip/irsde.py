"""IR-SDE, the mean-reverting diffusion (Luo et al. 2023, arXiv:2301.11699; posterior step: arXiv:2404.09732, Eq. 7).

A clean picture x0 drifts toward its degraded one mu while noise grows to a fixed level; a network that knows the
noise eps takes it back.  Everything is arithmetic on one step: no model, no device, no clock.

Shapes:  B images; x, mu, x0, eps, z (B, C, H, W), pictures in [0, 1]; each field of `Coefficients` (B, 1, 1, 1), so a
batch may stand at different steps.  t counts steps, 1 to T; 0 is the clean end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, kw_only=True)
class SDEConfig:
    """Defaults are the published configuration of all three systems.

    Attributes:
        max_sigma: the noise's level lambda at the far end, of pictures in [0, 1]; values from 1 on are of 255.
        steps: T, the steps that the network was trained on.
        schedule: how the speed of reversion grows.
        eps: what is left of x0 - mu at the far end.
        sample_steps: steps to take instead of T; the schedule is rebuilt for them, the network is told t T / sample_T.
    """

    max_sigma: float = 50.0
    steps: int = 100
    schedule: Schedule = "cosine"
    eps: float = 0.005
    sample_steps: int | None = None


@dataclass(frozen=True)
class Coefficients:
    """What one step of each image needs; every field (B, 1, 1, 1), float32."""

    theta: Tensor
    sigma: Tensor
    sigma_bar: Tensor
    decay: Tensor  # exp(-thetabar_t dt): what is left of x0 - mu
    step_decay: Tensor  # exp(-theta_t dt)
    earlier_decay: Tensor  # exp(-thetabar_{t-1} dt)
    posterior_std: Tensor
    dt: Tensor
    time: Tensor  # what the network is told

    @classmethod
    def stack(cls, rows: Sequence[Self], device: torch.device | str = "cpu") -> Self:
        """Those of several images as a batch, on the device in one transfer."""
        table = torch.stack([torch.cat([getattr(row, field.name) for row in rows]) for field in fields(cls)])
        return cls(*table.to(device))


class Posterior(NamedTuple):
    """Weights of x_t - mu and of x0 - mu in the posterior mean."""

    from_state: Tensor
    from_clean: Tensor


class IRSDE:
    """The schedule's tables, (T + 1,) float32 each, in the authors' precision and order of operations."""

    def __init__(self, config: SDEConfig | None = None) -> None:
        self.config = config or SDEConfig()
        if min(self.config.steps, self.T) < 1:
            raise ValueError(f"got {self.config.steps} and {self.config.sample_steps} steps, expected at least 1")
        self.max_sigma = self.config.max_sigma / 255 if self.config.max_sigma >= 1 else self.config.max_sigma
        self.thetas = _thetas(self.config.schedule, self.T)
        self.sigmas = (self.max_sigma**2 * 2 * self.thetas).sqrt()
        self.thetas_cumsum = self.thetas.cumsum(dim=0) - self.thetas[0]
        self.dt = -math.log(self.config.eps) / self.thetas_cumsum[-1]
        self.sigma_bars = (self.max_sigma**2 * (1 - (-2 * self.thetas_cumsum * self.dt).exp())).sqrt()

    @property
    def T(self) -> int:
        """Steps of a whole way."""
        return self.config.steps if self.config.sample_steps is None else self.config.sample_steps

    @cached_property
    def _table(self) -> Coefficients:
        """Every step's coefficients, (T + 1,) a field.  At 0 the earlier decay is that of 0 itself."""
        decay, step_decay = _exp(-self.thetas_cumsum * self.dt), _exp(-self.thetas * self.dt)
        earlier = torch.cat([decay[:1], decay[:-1]])
        return Coefficients(
            theta=self.thetas,
            sigma=self.sigmas,
            sigma_bar=self.sigma_bars,
            decay=decay,
            step_decay=step_decay,
            earlier_decay=earlier,
            posterior_std=self._posterior_std(decay, step_decay, earlier),
            dt=self.dt.expand(self.T + 1),
            time=torch.arange(self.T + 1) * (self.config.steps / self.T),
        )

    def _posterior_std(self, decay: Tensor, step_decay: Tensor, earlier: Tensor) -> Tensor:
        variance = (1 - step_decay**2) * (1 - earlier**2) / (1 - decay**2)
        variance[0] = 0.0  # 0 / 0: nothing is left to step
        # The floor is the authors': the last step's variance is zero, and they take its logarithm
        return (0.5 * variance.clamp(min=1e-20 * float(self.dt)).log()).exp() * self.max_sigma

    def at(self, t: Tensor) -> Coefficients:
        """The coefficients of each image's step: (B,) int64 in 0..T -> fields (B, 1, 1, 1) on t's device."""
        table, index = self._table, t.cpu()
        rows = (getattr(table, field.name)[index].reshape(-1, 1, 1, 1).to(t.device) for field in fields(table))
        return Coefficients(*rows)


@lru_cache(maxsize=64)
def schedule_of(config: SDEConfig, sample_steps: int | None = None) -> IRSDE:
    """The schedule for so many steps (None: the configuration's own), kept for the next image."""
    return IRSDE(config if sample_steps is None else replace(config, sample_steps=sample_steps))


def _exp(x: Tensor) -> Tensor:
    """Rounded correctly: one unit in the last place of a decay is 1e-5 in the weights that are made of its square."""
    return x.double().exp().float()


def _thetas(schedule: Schedule, steps: int) -> Tensor:
    if schedule == "constant":
        return torch.ones(steps + 1)
    if schedule == "linear":
        scale = 1000 / (steps + 1)
        return torch.linspace(scale * 0.0001, scale * 0.02, steps + 1)
    if schedule != "cosine":
        raise ValueError(f"got schedule {schedule!r}, expected cosine, linear or constant")
    count, s = steps + 2, 0.008
    x = torch.linspace(0, count, count + 1)
    kept = (((x / count) + s) / (1 + s) * math.pi * 0.5).cos() ** 2
    return 1 - (kept / kept[0])[1:-1]


# --- marginals


def start(mu: Tensor, z: Tensor, max_sigma: float) -> Tensor:
    """The far end, from where sampling starts: mu + lambda z."""
    return mu + max_sigma * z


def marginal_mean(x0: Tensor, mu: Tensor, at: Coefficients) -> Tensor:
    """The mean of x_t: mu + (x0 - mu) exp(-thetabar_t dt)."""
    return mu + (x0 - mu) * at.decay


def diffuse(x0: Tensor, mu: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """x_t, drawn in one go: its mean + sigmabar_t z."""
    return marginal_mean(x0, mu, at) + at.sigma_bar * z


def score_from_noise(eps: Tensor, at: Coefficients) -> Tensor:
    """The gradient of the log density: -eps / sigmabar_t."""
    return -eps / at.sigma_bar


def true_noise(x: Tensor, x0: Tensor, mu: Tensor, at: Coefficients) -> Tensor:
    """The eps that led from x0 to x."""
    return (x - marginal_mean(x0, mu, at)) / at.sigma_bar


def clean_from_noise(x: Tensor, mu: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
    """The x0 that eps implies: mu + (x - mu - sigmabar_t eps) exp(thetabar_t dt)."""
    return (x - mu - at.sigma_bar * eps) / at.decay + mu


# --- steps


def forward_step(x: Tensor, mu: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """One Euler-Maruyama step away from the clean picture."""
    return x + at.theta * (mu - x) * at.dt + at.sigma * at.dt.sqrt() * z


def reverse_drift(x: Tensor, mu: Tensor, score: Tensor, at: Coefficients) -> Tensor:
    """What the reverse SDE's mean takes off a state in one step."""
    return (at.theta * (mu - x) - at.sigma**2 * score) * at.dt


def sde_mean(x: Tensor, mu: Tensor, score: Tensor, at: Coefficients) -> Tensor:
    """One reverse step without its noise."""
    return x - reverse_drift(x, mu, score, at)


def sde_step(x: Tensor, mu: Tensor, score: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """One reverse Euler-Maruyama step; noise at every t, the last one included, as published."""
    return sde_mean(x, mu, score, at) - at.sigma * at.dt.sqrt() * z


def ode_step(x: Tensor, mu: Tensor, score: Tensor, at: Coefficients) -> Tensor:
    """One step of the probability-flow ODE."""
    return x - (at.theta * (mu - x) - 0.5 * at.sigma**2 * score) * at.dt


def posterior_weights(at: Coefficients) -> Posterior:
    """At t = 1 these are 0 and 1, so the last step needs no case of its own."""
    whole = 1 - at.decay**2
    return Posterior(
        from_state=at.step_decay * (1 - at.earlier_decay**2) / whole,
        from_clean=at.earlier_decay * (1 - at.step_decay**2) / whole,
    )


def posterior_mean(x: Tensor, mu: Tensor, x0: Tensor, at: Coefficients) -> Tensor:
    """The most likely x_{t-1} between x_t and x0."""
    weights = posterior_weights(at)
    return weights.from_state * (x - mu) + weights.from_clean * (x0 - mu) + mu


def posterior_step(x: Tensor, mu: Tensor, eps: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """One optimal-posterior step with the x0 that eps implies."""
    return posterior_mean(x, mu, clean_from_noise(x, mu, eps, at), at) + at.posterior_std * z


# --- training


def matching_loss(x: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
    """The "maximum likelihood" loss, a number: mean |reverse step with the predicted noise - best reverse step|.

    Neither step has noise, and no step is weighted (arXiv:2301.11699, section 4.1; weight 1 as in the released code).
    """
    reached = sde_mean(x, mu, score_from_noise(eps, at), at)
    return (reached - posterior_mean(x, mu, x0, at)).abs().mean()
