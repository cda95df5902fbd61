"""Stage two: AIR, the text-conditioned denoiser (arXiv:2310.10123, section 3.2).

|| eps - eps_theta(e, [z_t, z_I], t) ||^2 (or the same for v, Salimans & Ho 2022), with the true degradation's prompt as
the condition; text is dropped for 10 % of the examples, the image for 10 %, both for 5 %, which makes guidance
possible.

Shapes:  B batch, H W pixels, L D text tokens and width, K names.  Images are RGB (B, 3, H, W) in [-1, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.autodir.air import AIR, AIRConfig
from models.training.autodir.air_estimate import Estimator, amplitudes, draw_timesteps
from models.training.core.config import RunConfig
from models.training.core.trainer import Validation
from models.training.core.validation import score_restoration, validation_examples
from models.training.data.dataset import Example, Pairs, batches
from models.training.data.photos import PhotoPool


@dataclass(frozen=True, kw_only=True)
class AIRStageConfig:
    """Published: drops 0.1, 0.1, 0.05; timesteps uniform from 0 to 999.

    `noisiest` is the share of examples at the last timestep, where a few-step sampler takes its longest stride;
    `soften` is the largest share of other prompts blended into the condition, as the assessor's mixture e_auto will be.
    """

    network: AIRConfig = field(default_factory=AIRConfig)
    drop_text: float = 0.1
    drop_image: float = 0.1
    drop_both: float = 0.05
    timesteps: tuple[int, int] = (0, 999)
    noisiest: float = 0.0
    soften: float = 0.0


def denoising_target(kind: str, z: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
    """What the network is to say at z_t = signal z + spread noise: eps, or v = signal eps - spread z."""
    return noise if kind == "epsilon" else signal * noise - spread * z


def drops(draw: Tensor, config: AIRStageConfig) -> tuple[Tensor, Tensor]:
    """Who loses the text and who the image: draws (B,) in [0, 1) -> 2 x (B,) bool, apart but for both."""
    both = draw < config.drop_both
    text = (draw >= config.drop_both) & (draw < config.drop_both + config.drop_text)
    start = config.drop_both + config.drop_text
    image = (draw >= start) & (draw < start + config.drop_image)
    return text | both, image | both


class AIRStage:
    """Trains the U-Net; the text tower gave `contexts` (K, L, D), and `phrasings` with `phrase_names`."""

    name = "air"

    def __init__(
        self, config: AIRStageConfig, run: RunConfig, pools: tuple[PhotoPool, PhotoPool], names: tuple[str, ...],
        contexts: "Contexts",
    ) -> None:  # fmt: skip
        self.config, self.run, self.names, self.contexts = config, run, names, contexts
        self.pairs = Pairs(pools[0], run.crop, run.mixture, names, run.seed)
        air = AIR(config.network)
        if config.network.residual:  # a silent last layer starts as "no change"
            nn.init.zeros_(air.unet.conv_out.weight)
        self.network: nn.Module = air
        self.schedule = air.schedule
        self.held_out = validation_examples(pools[1], names, crop_px=128, each=8)

    def examples(self, start: int) -> Iterator[Example]:
        run = self.run
        return batches(self.pairs, start=start, batch=run.batch, loaders=run.loaders, pin=run.device != "cpu")

    def loss(self, batch: Example, generator: torch.Generator) -> Tensor:
        air, config = self.network, self.config
        assert isinstance(air, AIR)
        count, device = len(batch["degraded"]), batch["degraded"].device
        with torch.no_grad():
            z, z_image = air.encode(batch["target"]) * air.scale, air.encode(batch["degraded"])
        timesteps = draw_timesteps(count, *config.timesteps, generator)
        timesteps[torch.rand(count, generator=generator) < config.noisiest] = 999
        timesteps = timesteps.to(device)
        signal, spread = amplitudes(self.schedule, timesteps)
        noise = torch.randn(z.shape, generator=generator).to(device)
        context = self.contexts.draw(batch["label"], config.soften, generator)
        without_text, without_image = (
            drop.to(device) for drop in drops(torch.rand(count, generator=generator), config)
        )
        context = torch.where(without_text[:, None, None], self.contexts.null.to(device), context)
        z_image = z_image.masked_fill(without_image[:, None, None, None], 0)
        output = air.predict(signal * z + spread * noise, z_image, timesteps, context)
        target = denoising_target(air.config.prediction, z, noise, signal, spread)
        return (output.float() - target).square().mean()

    def validate(self, network: nn.Module) -> Validation:
        assert isinstance(network, AIR)
        device = next(network.parameters()).device
        estimator = Estimator(network, self.contexts.prompts)
        generator = torch.Generator().manual_seed(0)

        def restore(example: Example) -> tuple[Tensor]:
            example = {key: value.to(device) for key, value in example.items()}
            return (estimator.estimate(example, (999, 999), generator).cpu(),)

        result = score_restoration(self.held_out, self.names, restore)
        network.requires_grad_(True)  # the estimator froze it
        return result


@dataclass(frozen=True)
class Contexts:
    """Token states from the frozen text tower: class prompts (K, L, D), the null prompt, each name's phrasings."""

    prompts: Tensor
    null: Tensor
    phrasings: Tensor  # (K, M, L, D)

    def draw(self, labels: Tensor, soften: float, generator: torch.Generator) -> Tensor:
        """A condition for each label (B,): half class prompts, blended with others up to `soften`; half phrasings."""
        count = len(labels)
        classes = self.prompts[labels.cpu()]  # (B, L, D)
        other = self.prompts[torch.randint(len(self.prompts), (count,), generator=generator)]
        share = torch.rand(count, generator=generator)[:, None, None] * soften
        which = torch.randint(self.phrasings.shape[1], (count,), generator=generator)
        phrases = self.phrasings[labels.cpu(), which]
        use_phrase = (torch.rand(count, generator=generator) < 0.5)[:, None, None]
        return torch.where(use_phrase, phrases, torch.lerp(classes, other, share)).to(labels.device)
