"""What the network says of each image of a step: exactly, or with less computed where a bundle asks for that.

Exactly is one call over the guidance branches that count (models.autodir.guidance).  The two savings are approximations
and off unless LoopConfig sets them: `cache_every` takes the U-Net's depths over from an earlier step
(models.autodir.deep_cache), and `guidance_every` what guidance adds to cond.  Both remember per image, so neighbors at
other steps do not matter.

Shapes:  B images, C h w of the latent, L D text tokens and width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.autodir.air import AIR
from models.autodir.deep_cache import shallow, whole
from models.autodir.guidance import branch_weights, guided
from models.autodir.transfer import sent

Scale = tuple[float, float]
"""Of guidance: text, image."""
PLAIN: Scale = (1.0, 1.0)
"""At these only cond counts."""
Parts = tuple[Tensor, Tensor, Tensor, Tensor]
"""z, z_I, timestep and context of the images at hand."""


@dataclass(eq=False)
class Memory:
    """What one image's earlier steps left, on the device; empty unless an approximation is on."""

    exact: bool = False  # nothing may be taken over
    deep: Tensor | None = None  # (C', h, w), what models.autodir.deep_cache takes over
    push: Tensor | None = None  # (C, h, w), guided output minus cond


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """`null` gives the null prompt's states (L, D) when they are needed; 1 computes everything at every step."""

    air: AIR
    null: Callable[[], Tensor]
    cache_every: int = 1
    guidance_every: int = 1

    def __call__(
        self, z: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor,
        scales: Sequence[Scale], steps: Sequence[int], memories: Sequence[Memory],
    ) -> Tensor:  # fmt: skip
        """The guided output (B, C, h, w).

        `z` is scaled to the network's input; `scales`, `steps` (done so far) and `memories` hold one entry an image.
        """
        if self.cache_every == self.guidance_every == 1:
            return guided(self.air.predict, z, z_image, timestep, context, self.null, scales)
        ways: dict[Way, list[int]] = {}
        for i, (scale, step, memory) in enumerate(zip(scales, steps, memories, strict=True)):
            ways.setdefault(self._way(scale, step, memory), []).append(i)
        output = torch.empty_like(z)
        for way, chosen in ways.items():
            rows = sent(torch.tensor(chosen), z.device)
            parts = z[rows], z_image[rows], timestep[rows], context[rows]
            output[rows] = way(self, parts, [scales[i] for i in chosen], [memories[i] for i in chosen])
        return output

    def _way(self, scale: Scale, step: int, memory: Memory) -> "Way":
        if memory.exact:
            return Denoiser._exact
        if scale == PLAIN and self.cache_every > 1:
            return Denoiser._whole if memory.deep is None or step % self.cache_every == 0 else Denoiser._shallow
        if scale != PLAIN and scale[0] != 0 and self.guidance_every > 1:
            return Denoiser._guided if memory.push is None or step % self.guidance_every == 0 else Denoiser._pushed
        return Denoiser._exact

    def _exact(self, parts: Parts, scales: Sequence[Scale], _memories: Sequence[Memory]) -> Tensor:
        return guided(self.air.predict, *parts, self.null, scales)

    def _whole(self, parts: Parts, _scales: Sequence[Scale], memories: Sequence[Memory]) -> Tensor:
        def network(stacked: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
            output, deep = whole(self.air.unet, stacked, timestep, context)
            for memory, kept in zip(memories, deep, strict=True):
                memory.deep = kept
            return output

        return self.air.predict(*parts, network)

    def _shallow(self, parts: Parts, _scales: Sequence[Scale], memories: Sequence[Memory]) -> Tensor:
        deep = torch.stack([memory.deep for memory in memories if memory.deep is not None])
        return self.air.predict(*parts, partial(shallow, self.air.unet, deep=deep))

    def _guided(self, parts: Parts, scales: Sequence[Scale], memories: Sequence[Memory]) -> Tensor:
        outputs: list[Tensor] = []

        def predict(z: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
            outputs.append(self.air.predict(z, z_image, timestep, context))
            return outputs[0]

        total = guided(predict, *parts, self.null, scales)
        place = 0  # guided asks for each image's branches in turn, cond first
        for memory, scale, pushed in zip(memories, scales, total, strict=True):
            memory.push = pushed - outputs[0][place]
            place += sum(weight != 0 for weight in branch_weights(*scale))
        return total

    def _pushed(self, parts: Parts, _scales: Sequence[Scale], memories: Sequence[Memory]) -> Tensor:
        return self.air.predict(*parts) + torch.stack([memory.push for memory in memories if memory.push is not None])


Way = Callable[[Denoiser, Parts, Sequence[Scale], Sequence[Memory]], Tensor]
