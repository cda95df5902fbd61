"""A frozen AIR, which makes the training input of the SCM: a one-step estimate, or the result of a sampler.

One step:  z~ = (z_t - sqrt(1 - a) eps) / sqrt(a), decoded (arXiv:2310.10123, section 3.3).

Shapes:  B batch, H W pixels, L D text tokens and width, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

import torch
from torch import Tensor

from models.autodir.air import AIR
from models.autodir.config import LoopConfig
from models.autodir.samplers import NoiseSchedule, StepCoefficients, advance, denoised_from, plan
from models.training.data.dataset import Example
from models.training.data.share import Draws


def draw_timesteps(count: int, low: int, high: int, draws: Draws) -> Tensor:
    """Returns (B,) integer timesteps, uniform from low to high, both included."""
    return draws.integers(low, high + 1, count)


def amplitudes(schedule: NoiseSchedule, timesteps: Tensor) -> tuple[Tensor, Tensor]:
    """Returns sqrt(a) and sqrt(1 - a) at integer timesteps (B,) -> 2 x (B, 1, 1, 1)."""
    kept = schedule.alphas_cumprod.to(timesteps.device)[timesteps].float()[:, None, None, None]
    return kept.sqrt(), (1 - kept).sqrt()


class FrozenAIR:
    """AIR without gradients, and the token states of the prompts (K, L, D), one for each name."""

    def __init__(self, air: AIR, contexts: Tensor) -> None:
        self.air = air.eval().requires_grad_(False)
        self.contexts = contexts
        self.schedule = air.schedule

    @torch.no_grad()
    def one_step_estimate(self, batch: Example, timesteps: tuple[int, int], draws: Draws) -> Tensor:
        """Noise the target to a random timestep and return the decoded estimate (B, 3, H, W), clamped to [-1, 1].

        `timesteps` is the range of the draw, both ends included.
        """
        degraded, target = batch["degraded"], batch["target"]
        drawn = draw_timesteps(len(degraded), *timesteps, draws).to(degraded.device)
        signal, spread = amplitudes(self.schedule, drawn)
        z = self.air.encode(target) * self.air.scale
        noise = draws.normal(z.shape).to(z.device)
        z_t = signal * z + spread * noise
        context = self.contexts.to(degraded.device)[batch["label"]]
        output = self.air.predict(z_t, self.air.encode(degraded), drawn, context).float()
        if self.air.config.prediction == "epsilon":
            estimate = (z_t - spread * output) / signal
        else:
            estimate = signal * z_t - spread * output
        return self.air.decode(estimate).clamp(-1, 1)

    @torch.no_grad()
    def sample(self, batch: Example, loop: LoopConfig, draws: Draws) -> Tensor:
        """Run the sampler on the degraded pictures: (B, 3, H, W), clamped to [-1, 1].  It does not read the target."""
        degraded = batch["degraded"]
        z_image, context = self.air.encode(degraded), self.contexts.to(degraded.device)[batch["label"]]
        steps = plan(loop.sampler, self.schedule, loop.steps, loop.end_timestep)
        z = steps.initial_scale * loop.temperature * draws.normal(z_image.shape).to(z_image.device)
        earlier = torch.zeros_like(z)
        for row in steps.steps:
            at = StepCoefficients.stack([row] * len(z), z.device)
            scaled = at.input_scale * z
            output = self.air.predict(scaled, z_image, at.timestep, context).float()
            denoised = denoised_from(self.air.config.prediction, scaled, output, at)
            noise = draws.normal(z.shape).to(z.device) if row.spread else torch.zeros_like(z)
            z, earlier = advance(z, denoised, earlier, noise, at), denoised
        return self.air.decode(z).clamp(-1, 1)
