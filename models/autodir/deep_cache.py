"""DeepCache: a U-Net call that reuses the deep features of an earlier step (Ma et al. 2023, arXiv:2312.00858).

Features of low resolution change slowly from step to step.  The input of the last up block is kept; a cached call
computes only the input convolution, the first down block, that up block and the output convolution.  With the deep
features of its own inputs it gives the output of the full network exactly.

Shapes:  B images, C h w of the latent, L D text tokens and width; `deep` is (B, C', h, w), C' of the last up block.
"""

from typing import Any

from torch import Tensor, nn


def full_forward(network: nn.Module, stacked: Tensor, timestep: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the output (B, C, h, w) of diffusers' UNet2DConditionModel, and its deep features.

    stacked (B, 2 C, h, w), timestep (B,), context (B, L, D).
    """
    unet: Any = network  # diffusers is untyped
    kept: list[Tensor] = []

    def keep(_block: nn.Module, _args: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        kept.append(named["hidden_states"])

    hook = unet.up_blocks[-1].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        output: Tensor = unet(stacked, timestep, encoder_hidden_states=context, return_dict=False)[0]
    finally:
        hook.remove()
    return output, kept[0]


def cached_forward(network: nn.Module, stacked: Tensor, timestep: Tensor, context: Tensor, deep: Tensor) -> Tensor:
    """Returns the output (B, C, h, w) with the deep features of another step."""
    unet: Any = network
    down, up = unet.down_blocks[0], unet.up_blocks[-1]
    time = unet.time_embedding(unet.time_proj(timestep).to(stacked.dtype))
    first = unet.conv_in(stacked)
    _, skips = down(hidden_states=first, temb=time, **_text(down, context))
    used = (first, *skips)[: len(up.resnets)]  # the down block's last output is for the level below
    x = up(hidden_states=deep, temb=time, res_hidden_states_tuple=used, **_text(up, context))
    output: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))
    return output


def _text(block: nn.Module, context: Tensor) -> dict[str, Tensor]:
    """Only blocks with cross-attention take the text."""
    return {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
