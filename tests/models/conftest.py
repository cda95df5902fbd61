"""The published tiny networks, rebuilt: their configurations, and their weights under our names."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from models.air import AIR, AIRConfig, UNetConfig
from models.clip import ClipConfig, TextConfig, VisionConfig
from models.latents import KLConfig

TINY_CLIP = ClipConfig(
    vision=VisionConfig(layers=2, width=64, head_width=16, mlp_ratio=2.0),
    text=TextConfig(layers=2, mlp_ratio=1 / 3),
)
TINY_AIR = AIRConfig(
    unet=UNetConfig(block_channels=(32, 64, 128, 128)), codec=KLConfig(block_channels=(32, 64, 128, 128))
)

# A block's names in the checkpoint (transformers) and in open_clip; q, k and v are fused besides
BLOCK = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}


def _blocks(state: dict[str, Tensor], layers: int) -> Iterator[tuple[str, Tensor]]:
    for layer in range(layers):
        theirs, ours = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for leaf in ("weight", "bias"):
            yield (
                f"{ours}attn.in_proj_{leaf}",
                torch.cat([state[f"{theirs}self_attn.{which}_proj.{leaf}"] for which in "qkv"]),
            )
            for name, new in BLOCK.items():
                yield f"{ours}{new}.{leaf}", state[f"{theirs}{name}.{leaf}"]


def _tower(state: dict[str, Tensor], names: dict[str, str], layers: int) -> dict[str, Tensor]:
    return {ours: state[theirs] for theirs, ours in names.items()} | dict(_blocks(state, layers))


@pytest.fixture(scope="session")
def tiny_clip() -> ClipConfig:
    """The CLIP of the vectors: two layers a tower, text width 768."""
    return TINY_CLIP


@pytest.fixture(scope="session")
def tiny_clip_state(checkpoint: Callable[[str], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Its weights for open_clip."""
    whole = checkpoint("model_assessment.clipmodel.")
    text, vision = (checkpoint(f"model_assessment.clipmodel.{tower}_model.") for tower in ("text", "vision"))
    state = _tower(text, TEXT, 2)
    state |= {f"visual.{name}": value for name, value in _tower(vision, VISION, 2).items()}
    state["visual.proj"] = whole["visual_projection.weight"].T.contiguous()
    state["text_projection"] = whole["text_projection.weight"].T.contiguous()
    state["logit_scale"] = whole["logit_scale"]
    return state


@pytest.fixture(scope="session")
def tiny_air(checkpoint: Callable[[str], dict[str, Tensor]]) -> AIR:
    """The denoiser and autoencoder of the vectors, through diffusers' own conversion of the released layout."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    air = AIR(TINY_AIR).eval().requires_grad_(False)
    denoiser, autoencoder = "model.diffusion_model.", "first_stage_model."
    unet = {denoiser + name: value for name, value in checkpoint(denoiser).items()}
    codec = {autoencoder + name: value for name, value in checkpoint(autoencoder).items()}
    air.unet.load_state_dict(convert_ldm_unet_checkpoint(unet, air.unet.config), strict=True)
    kl = air.codec.autoencoder
    kl.load_state_dict(convert_ldm_vae_checkpoint(codec, kl.config), strict=True)
    return air
