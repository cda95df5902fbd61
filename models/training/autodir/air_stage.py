"""The stage `air`: AIR, the text-conditioned denoiser (arXiv:2310.10123, section 3.2).

The loss is || eps - eps_theta(e, [z_t, z_I], t) ||^2, or the same for v (Salimans & Ho 2022).  The condition is the
prompt of the true degradation.  The text is dropped for 10 % of the examples, the image for 10 %, both for 5 %;
guidance needs this.

Shapes:  B batch, H W pixels, L D text tokens and width, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.autodir.air import AIR, AIRConfig
from models.autodir.config import LoopConfig
from models.training.autodir.frozen_air import FrozenAIR, amplitudes, draw_timesteps
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData, score_held_out
from models.training.core.trainer import Validation
from models.training.data.dataset import Example, batches
from models.training.data.share import ALONE, Draws, Share


@dataclass(frozen=True, kw_only=True)
class AIRStageConfig:
    """Published: drop shares 0.1, 0.1, 0.05; timesteps uniform from 0 to 999.

    Attributes:
        noisiest_share: share of examples at the last timestep, where a few-step sampler takes its longest step.
        prompt_blend: largest share of another prompt in the condition, like the mixture e_auto of the assessor.
        validation: sampler of a validation; None estimates in one step, which only a network for high noise can.
    """

    network: AIRConfig = field(default_factory=AIRConfig)
    drop_text: float = 0.1
    drop_image: float = 0.1
    drop_both: float = 0.05
    timesteps: tuple[int, int] = (0, 999)
    noisiest_share: float = 0.0
    prompt_blend: float = 0.0
    validation: LoopConfig | None = None


def denoising_target(kind: str, z: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
    """Returns the target of the network at z_t = signal z + spread noise: eps, or v = signal eps - spread z."""
    return noise if kind == "epsilon" else signal * noise - spread * z


def dropped_conditions(draw: Tensor, config: AIRStageConfig) -> tuple[Tensor, Tensor]:
    """Returns which examples lose the text and which the image: draws (B,) in [0, 1) -> 2 x (B,) bool."""
    both = draw < config.drop_both
    text = (draw >= config.drop_both) & (draw < config.drop_both + config.drop_text)
    start = config.drop_both + config.drop_text
    image = (draw >= start) & (draw < start + config.drop_image)
    return text | both, image | both


class AIRStage:
    """Trains the U-Net of AIR; `contexts` comes from the frozen text encoder."""

    name = "air"
    partial = False

    def __init__(
        self, config: AIRStageConfig, run: RunConfig, data: TrainingData, names: tuple[str, ...],
        contexts: "Contexts",
    ) -> None:  # fmt: skip
        self.config, self.run, self.names, self.contexts = config, run, names, contexts
        self.pairs = data.examples(run, names)
        air = AIR(config.network)
        if config.network.residual:  # with a zero last layer the network starts as "no change"
            nn.init.zeros_(air.unet.conv_out.weight)
        air.codec.requires_grad_(False)
        self.network: nn.Module = air
        self.schedule = air.schedule
        self.held_out = data.held_out(names, crop_px=128, each=8)

    def examples(self, start: int, share: Share = ALONE) -> Iterator[Example]:
        run = self.run
        return batches(
            self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu", share=share
        )

    def loss(self, batch: Example, draws: Draws) -> Tensor:
        air, config = self.network, self.config
        assert isinstance(air, AIR)
        count, device = len(batch["degraded"]), batch["degraded"].device
        with torch.no_grad():
            z, z_image = air.encode(batch["target"]) * air.scale, air.encode(batch["degraded"])
        timesteps = draw_timesteps(count, *config.timesteps, draws)
        timesteps[draws.uniform((count,)) < config.noisiest_share] = 999
        timesteps = timesteps.to(device)
        signal, spread = amplitudes(self.schedule, timesteps)
        noise = draws.normal(z.shape).to(device)
        context = self.contexts.draw(batch["label"], config.prompt_blend, draws)
        without_text, without_image = (drop.to(device) for drop in dropped_conditions(draws.uniform((count,)), config))
        context = torch.where(without_text[:, None, None], self.contexts.null.to(device), context)
        z_image = z_image.masked_fill(without_image[:, None, None, None], 0)
        output = air.predict(signal * z + spread * noise, z_image, timesteps, context)
        target = denoising_target(air.config.prediction, z, noise, signal, spread)
        return (output.float() - target).square().mean()

    def validate(self, network: nn.Module) -> Validation:
        assert isinstance(network, AIR)
        device = next(network.parameters()).device
        air = FrozenAIR(network, self.contexts.prompts)
        draws = Draws(torch.Generator().manual_seed(0))

        def restore(example: Example) -> tuple[Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            if self.config.validation is not None:
                return (air.sample(example, self.config.validation, draws).cpu(),)
            return (air.one_step_estimate(example, (999, 999), draws).cpu(),)

        result = score_held_out(self.held_out, restore)
        network.unet.requires_grad_(True)  # FrozenAIR froze it
        return result


@dataclass(frozen=True)
class Contexts:
    """Token states from the frozen text encoder: class prompts (K, L, D), null prompt (L, D), users' phrasings."""

    prompts: Tensor
    null: Tensor
    phrasings: Tensor  # (K, M, L, D)

    def draw(self, labels: Tensor, prompt_blend: float, draws: Draws) -> Tensor:
        """Returns a condition for each label (B,): half of them phrasings, half class prompts.

        Class prompts are blended with another prompt; the share of the other is at most `prompt_blend`.
        """
        count = len(labels)
        classes = self.prompts[labels.cpu()]  # (B, L, D)
        other = self.prompts[draws.integers(0, len(self.prompts), count)]
        share = draws.uniform((count,))[:, None, None] * prompt_blend
        which = draws.integers(0, self.phrasings.shape[1], count)
        phrases = self.phrasings[labels.cpu(), which]
        use_phrase = (draws.uniform((count,)) < 0.5)[:, None, None]
        return torch.where(use_phrase, phrases, torch.lerp(classes, other, share)).to(labels.device)
