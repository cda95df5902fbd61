"""ETDiffIR as a family: DA-CLIP looks once, a caption joins in, the efficient U-Net walks back (Sensors 2024).

All is as in the DA-CLIP family but for two things.  The prompt is the picture's caption ("a dog on a beach"), not what
to repair, so it may come together with `only` and `skip`, which choose the degradation embedding as there.  And the
sampler is Euler-Maruyama's, whose steps each bring noise, as published.

Shapes:  H W pixels, D joint width.  Images are RGB float32 (3, H, W) in [-1, 1], in host memory.
"""

from dataclasses import replace

import torch

from models.daclip.config import DaCLIPConfig
from models.daclip.controller import DaCLIP
from models.daclip.restorer import DaCLIPRestorer
from models.daclip.track import Job
from models.etdiffir.captions import caption_feature
from models.etdiffir.config import ETDiffIRConfig
from models.etdiffir.erunet import EfficientUNet
from models.etdiffir.tifb import fuse
from models.restorer import Outcome, Request


class ETDiffIRRestorer(DaCLIPRestorer):
    """The controller with its text tower and the efficient U-Net, resident on a device."""

    def __init__(
        self, config: ETDiffIRConfig, controller: DaCLIP, network: EfficientUNet, device: torch.device
    ) -> None:
        shared = DaCLIPConfig(
            words=config.words, controller=config.controller, unet=config.unet.unet, sde=config.sde, loop=config.loop
        )
        super().__init__(shared, controller, network, device)
        self.etdiffir = config

    def _open(self, request: Request) -> Outcome:
        controls = request.controls
        left = self._left(replace(controls, prompt=None))
        content, degradation = self._embedded(request.image)
        job = Job(controls=controls, image=request.image, seen=self._named(degradation))
        if controls.strength == 0:
            return self._done(job, request.image, "strength-zero")
        degradation = self._chosen(job, left, degradation)
        config, word = self.etdiffir, self.config.words[job.label]
        caption = caption_feature(self.controller, controls.prompt, config.fallback, content, word)
        job.constants = self.network.prepare(*fuse(caption, degradation, config.unet.mode))
        return self._start(job, request.tile_px)
