"""ETDiffIR as a family: DA-CLIP's assessment and a caption condition the efficient U-Net (Sensors 2024).

It differs from the DA-CLIP family in two ways.  The prompt is the caption of the image ("a dog on a beach") and does
not say what to repair, so it can be combined with `only` and `skip`.  The sampler is the reverse Euler-Maruyama step,
which adds noise at every step, as published.

Shapes:  H W pixels, D joint width.  Images are RGB (3, H, W), see models.pixels.
"""

from dataclasses import replace

import torch
from torch import Tensor

from models.controls import Controls
from models.daclip.config import DaCLIPConfig
from models.daclip.controller import DaCLIP
from models.daclip.restorer import DaCLIPRestorer
from models.daclip.track import ImageRun
from models.etdiffir.caption_embedding import caption_feature
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet
from models.etdiffir.fusion import fuse
from models.prompt_plan import PromptPlan, wish_of, with_wish
from models.prompt_words import understand
from models.restorer import Outcome, Request


class ETDiffIRRestorer(DaCLIPRestorer):
    """Restores with the controller and the efficient U-Net, both resident on a device."""

    def __init__(
        self, config: ETDiffIRConfig, controller: DaCLIP, network: EfficientUNet, device: torch.device
    ) -> None:
        shared = DaCLIPConfig(
            words=config.words, controller=config.controller, unet=config.unet.unet, sde=config.sde, loop=config.loop
        )
        super().__init__(shared, controller, network, device)
        self.etdiffir = config

    def _plan(self, controls: Controls) -> PromptPlan | None:
        return None  # a caption asks for nothing

    def _allowed_names(self, controls: Controls, plan: PromptPlan | None) -> tuple[str, ...]:
        return super()._allowed_names(replace(controls, prompt=None), plan)  # a caption may come with only or skip

    def _begin(
        self, request: Request, allowed: tuple[str, ...], plan: PromptPlan | None, content: Tensor, degradation: Tensor
    ) -> Outcome:
        controls = request.controls
        run = ImageRun(
            controls=controls, image=request.image, probabilities=self._probabilities(degradation),
            original=request.image,
        )  # fmt: skip
        if controls.prompt is not None:
            meant = understand(controls.prompt, self._scores_of)
            run.understood = with_wish(meant, wish_of(controls.prompt, self.names))
        degradation = self._condition_from_names(run, allowed, degradation)
        config, word = self.etdiffir, self.config.words[run.label]
        caption = caption_feature(self.controller, controls.prompt, config.fallback, content, word)
        run.constants = self.network.prepare(*fuse(caption, degradation, config.unet.mode))
        return self._start(run, request.tile_px)
