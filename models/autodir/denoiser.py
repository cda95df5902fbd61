"""Calls the denoising network for each image of a step, exactly or with the savings that a bundle asks for.

The exact way is one call over the guidance branches with a weight other than zero (models.autodir.guidance).  The two
savings are approximations and off unless LoopConfig sets them: `cache_every` reuses deep features of an earlier step
(models.autodir.deep_cache), `guidance_every` reuses the guidance offset: guided output minus cond.  Both are kept for
each image, so a result does not depend on neighbors at other steps.

Shapes:  B images, C h w of the latent, L D text tokens and width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from models.autodir.air import AIR
from models.autodir.deep_cache import cached_forward, full_forward
from models.autodir.guidance import branch_weights, guided
from models.device import to_device

Scale = tuple[float, float]
"""Guidance scales: text, image."""
NO_GUIDANCE: Scale = (1.0, 1.0)
"""At these scales only cond has a weight."""
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""z, z_I, timestep and context of the images that are computed in the same way."""


@dataclass(eq=False)
class StepCache:
    """Tensors of an image's earlier steps, on the device; empty unless an approximation is on."""

    exact: bool = False  # nothing may be reused
    deep: Tensor | None = None  # (C', h, w), the deep features
    guidance_offset: Tensor | None = None  # (C, h, w), guided output minus cond


@dataclass(frozen=True, kw_only=True)
class Denoiser:
    """`null` returns the null prompt's states (L, D); at 1 and 1 everything is computed at every step."""

    air: AIR
    null: Callable[[], Tensor]
    cache_every: int = 1
    guidance_every: int = 1

    def __call__(
        self, z: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor,
        scales: Sequence[Scale], steps: Sequence[int], caches: Sequence[StepCache],
    ) -> Tensor:  # fmt: skip
        """Returns the guided output (B, C, h, w).

        `z` is scaled to the network's input; `scales`, `steps` (done so far) and `caches` hold one entry an image.
        """
        if self.cache_every == self.guidance_every == 1:
            return guided(self.air.predict, z, z_image, timestep, context, self.null, scales)
        methods: dict[Method, list[int]] = {}
        for i, (scale, step, cache) in enumerate(zip(scales, steps, caches, strict=True)):
            methods.setdefault(self._method(scale, step, cache), []).append(i)
        output = torch.empty_like(z)
        for method, chosen in methods.items():
            rows = to_device(torch.tensor(chosen), z.device)
            inputs = z[rows], z_image[rows], timestep[rows], context[rows]
            output[rows] = method(self, inputs, [scales[i] for i in chosen], [caches[i] for i in chosen])
        return output

    def _method(self, scale: Scale, step: int, cache: StepCache) -> "Method":
        if cache.exact:
            return Denoiser._exact
        if scale == NO_GUIDANCE and self.cache_every > 1:
            return Denoiser._keep_deep if cache.deep is None or step % self.cache_every == 0 else Denoiser._reuse_deep
        if scale != NO_GUIDANCE and scale[0] != 0 and self.guidance_every > 1:
            due = cache.guidance_offset is None or step % self.guidance_every == 0
            return Denoiser._keep_offset if due else Denoiser._reuse_offset
        return Denoiser._exact

    def _exact(self, inputs: Inputs, scales: Sequence[Scale], _caches: Sequence[StepCache]) -> Tensor:
        return guided(self.air.predict, *inputs, self.null, scales)

    def _keep_deep(self, inputs: Inputs, _scales: Sequence[Scale], caches: Sequence[StepCache]) -> Tensor:
        def network(stacked: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
            output, deep = full_forward(self.air.unet, stacked, timestep, context)
            for cache, kept in zip(caches, deep, strict=True):
                cache.deep = kept
            return output

        return self.air.predict(*inputs, network)

    def _reuse_deep(self, inputs: Inputs, _scales: Sequence[Scale], caches: Sequence[StepCache]) -> Tensor:
        deep = torch.stack([cache.deep for cache in caches if cache.deep is not None])
        return self.air.predict(*inputs, partial(cached_forward, self.air.unet, deep=deep))

    def _keep_offset(self, inputs: Inputs, scales: Sequence[Scale], caches: Sequence[StepCache]) -> Tensor:
        outputs: list[Tensor] = []

        def predict(z: Tensor, z_image: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
            outputs.append(self.air.predict(z, z_image, timestep, context))
            return outputs[0]

        total = guided(predict, *inputs, self.null, scales)
        place = 0  # the branches of each image follow each other, cond first
        for cache, scale, result in zip(caches, scales, total, strict=True):
            cache.guidance_offset = result - outputs[0][place]
            place += sum(weight != 0 for weight in branch_weights(*scale))
        return total

    def _reuse_offset(self, inputs: Inputs, _scales: Sequence[Scale], caches: Sequence[StepCache]) -> Tensor:
        offsets = [cache.guidance_offset for cache in caches if cache.guidance_offset is not None]
        return self.air.predict(*inputs) + torch.stack(offsets)


Method = Callable[[Denoiser, Inputs, Sequence[Scale], Sequence[StepCache]], Tensor]
