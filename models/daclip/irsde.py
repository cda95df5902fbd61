"""IR-SDE, the mean-reverting diffusion (Luo et al. 2023, arXiv:2301.11699; posterior step: arXiv:2404.09732, Eq. 7).

The forward process moves a clean image x0 toward its degraded image mu while noise grows to a fixed level.  The reverse
process needs a network that predicts the noise eps.  Everything here is arithmetic on one step: no model, no device, no
clock.

Shapes:  B images; x, mu, x0, eps, z (B, C, H, W), images in [0, 1]; each field of `Coefficients` (B, 1, 1, 1), so that
the images of a batch may be at different steps.  t counts steps, 1 to T; 0 is the clean end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor

from models.device import to_device

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, kw_only=True)
class SDEConfig:
    """Defaults are the published configuration of all three systems.

    Attributes:
        max_sigma: the noise level lambda at step T, for images in [0, 1]; values of at least 1 are divided by 255.
        steps: T, the steps that the network was trained on.
        schedule: how the speed of reversion grows.
        eps: the share of x0 - mu that remains at step T.
        sample_steps: steps to take instead of T; the schedule is rebuilt for them, and the network gets the time
            t T / sample_steps.
    """

    max_sigma: float = 50.0
    steps: int = 100
    schedule: Schedule = "cosine"
    eps: float = 0.005
    sample_steps: int | None = None


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of one step of each image; every field is (B, 1, 1, 1) float32."""

    theta: Tensor
    sigma: Tensor
    sigma_bar: Tensor
    decay: Tensor  # exp(-thetabar_t dt): the remaining share of x0 - mu
    step_decay: Tensor  # exp(-theta_t dt)
    earlier_decay: Tensor  # exp(-thetabar_{t-1} dt)
    posterior_std: Tensor
    dt: Tensor
    time: Tensor  # the input of the network

    @classmethod
    def stack(cls, rows: Sequence[Self], device: torch.device | str = "cpu") -> Self:
        """Returns the coefficients of several images as a batch, moved to the device in one transfer."""
        table = torch.stack([torch.cat([getattr(row, field.name) for row in rows]) for field in fields(cls)])
        return cls(*to_device(table, torch.device(device)))


class Posterior(NamedTuple):
    """The weights of x_t - mu and of x0 - mu in the posterior mean."""

    from_state: Tensor
    from_clean: Tensor


class IRSDE:
    """The tables of a schedule, (T + 1,) float32 each, in the authors' precision and order of operations."""

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
        """The number of steps from noise to the clean image."""
        return self.config.steps if self.config.sample_steps is None else self.config.sample_steps

    @cached_property
    def _table(self) -> Coefficients:
        """The coefficients of all steps, (T + 1,) per field.  The earlier decay of step 0 is its own decay."""
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
        variance[0] = 0.0  # 0 / 0: there is no step from 0
        # The authors clamp, because the last step's variance is zero and they take its logarithm
        return (0.5 * variance.clamp(min=1e-20 * float(self.dt)).log()).exp() * self.max_sigma

    def at(self, t: Tensor) -> Coefficients:
        """Returns the coefficients of each image's step: (B,) int64 in 0..T -> fields (B, 1, 1, 1) on t's device."""
        table, index = self._table, t.cpu()
        rows = (getattr(table, field.name)[index].reshape(-1, 1, 1, 1).to(t.device) for field in fields(table))
        return Coefficients(*rows)


@lru_cache(maxsize=64)
def schedule_of(config: SDEConfig, sample_steps: int | None = None) -> IRSDE:
    """Returns the cached schedule of a number of steps; None is the configuration's own number."""
    return IRSDE(config if sample_steps is None else replace(config, sample_steps=sample_steps))


def _exp(x: Tensor) -> Tensor:
    """Returns exp(x), correctly rounded: a float32 rounding error in a decay grows to 1e-5 in the posterior weights."""
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


def initial_state(mu: Tensor, z: Tensor, max_sigma: float) -> Tensor:
    """Returns x_T, where sampling starts: mu + lambda z."""
    return mu + max_sigma * z


def marginal_mean(x0: Tensor, mu: Tensor, at: Coefficients) -> Tensor:
    """Returns the mean of x_t: mu + (x0 - mu) exp(-thetabar_t dt)."""
    return mu + (x0 - mu) * at.decay


def diffuse(x0: Tensor, mu: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """Returns a sample of x_t: its mean + sigmabar_t z."""
    return marginal_mean(x0, mu, at) + at.sigma_bar * z


def score_from_noise(eps: Tensor, at: Coefficients) -> Tensor:
    """Returns the gradient of the log density: -eps / sigmabar_t."""
    return -eps / at.sigma_bar


def true_noise(x: Tensor, x0: Tensor, mu: Tensor, at: Coefficients) -> Tensor:
    """Returns the eps that leads from x0 to x."""
    return (x - marginal_mean(x0, mu, at)) / at.sigma_bar


def clean_from_noise(x: Tensor, mu: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
    """Returns the x0 that eps implies: mu + (x - mu - sigmabar_t eps) exp(thetabar_t dt)."""
    return (x - mu - at.sigma_bar * eps) / at.decay + mu


# --- steps


def forward_step(x: Tensor, mu: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """One forward Euler-Maruyama step, from t - 1 to t."""
    return x + at.theta * (mu - x) * at.dt + at.sigma * at.dt.sqrt() * z


def reverse_drift(x: Tensor, mu: Tensor, score: Tensor, at: Coefficients) -> Tensor:
    """Returns the drift of the reverse SDE, which a step subtracts from the state."""
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
    """Returns the weights of the posterior mean.  At t = 1 they are 0 and 1, so the last step is no special case."""
    whole = 1 - at.decay**2
    return Posterior(
        from_state=at.step_decay * (1 - at.earlier_decay**2) / whole,
        from_clean=at.earlier_decay * (1 - at.step_decay**2) / whole,
    )


def posterior_mean(x: Tensor, mu: Tensor, x0: Tensor, at: Coefficients) -> Tensor:
    """Returns the most likely x_{t-1} given x_t and x0."""
    weights = posterior_weights(at)
    return weights.from_state * (x - mu) + weights.from_clean * (x0 - mu) + mu


def posterior_step(x: Tensor, mu: Tensor, eps: Tensor, z: Tensor, at: Coefficients) -> Tensor:
    """One optimal-posterior step with the x0 that eps implies."""
    return posterior_mean(x, mu, clean_from_noise(x, mu, eps, at), at) + at.posterior_std * z


# --- training


def matching_loss(x: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, at: Coefficients) -> Tensor:
    """Returns the "maximum likelihood" loss: mean |predicted reverse step - best reverse step|, a scalar.

    Both steps are without noise, and all steps weigh the same (arXiv:2301.11699, section 4.1; as in the released code).
    """
    predicted = sde_mean(x, mu, score_from_noise(eps, at), at)
    return (predicted - posterior_mean(x, mu, x0, at)).abs().mean()
