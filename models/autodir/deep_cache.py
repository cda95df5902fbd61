"""The U-Net without its depths: features of low resolution change slowly from step to step (DeepCache, Ma et al. 2023,
arXiv:2312.00858), so a step in between may take over those of an earlier one.

Kept is what enters the last up block.  A shallow call computes the input convolution, the first down block, that up
block and the output convolution.  With the depths of its own inputs it gives the whole network's output exactly.

Shapes:  B images, C h w of the latent, L D text tokens and width; `deep` is (B, C', h, w), C' of the last up block.
"""

from typing import Any

from torch import Tensor, nn


def whole(network: nn.Module, stacked: Tensor, timestep: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """The output (B, C, h, w) of diffusers' UNet2DConditionModel, and the depths it went through.

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


def shallow(network: nn.Module, stacked: Tensor, timestep: Tensor, context: Tensor, deep: Tensor) -> Tensor:
    """The output (B, C, h, w) with the depths of another step."""
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
    """Blocks that attend to the text take it, the others do not."""
    return {"encoder_hidden_states": context} if getattr(block, "has_cross_attention", False) else {}
