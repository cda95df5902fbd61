"""The published tiny networks, rebuilt under our names, and an even smaller AutoDIR of random weights."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.air import AIR, AIRConfig, UNetConfig
from models.assessor import Assessor
from models.autodir import AutoDIR, AutoDIRConfig, LoopConfig
from models.clip import ClipConfig, TextConfig, VisionConfig
from models.latents import KLConfig, PatchConfig
from models.nafnet import NAFNet, NAFNetConfig
from models.vocabulary import CLEAN

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


RANDOM = AutoDIRConfig(
    names=("noise", "haze", "low-resolution", CLEAN),
    fidelity={},
    clip=ClipConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, layers=1, width=16, patch_size=8, head_width=8),
        text=TextConfig(width=16, heads=2, layers=1),
    ),
    air=AIRConfig(
        unet=UNetConfig(
            block_channels=(16, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=16, norm_groups=4
        ),
        codec=PatchConfig(factor=4),
        prediction="v_prediction",
    ),
    scm=NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,)),
    loop=LoopConfig(sampler="ddim", steps=3, max_passes=4, views=4, native_px=64 * 64, tile_px=32, overlap_px=8),
)
Correct = Callable[[int], NAFNet]


@pytest.fixture(scope="session")
def random_config() -> AutoDIRConfig:
    return RANDOM


@pytest.fixture(scope="session")
def correction() -> Correct:
    """A small correction module with all its branches open, by seed."""

    def build(seed: int) -> NAFNet:
        torch.manual_seed(seed)
        network = NAFNet(RANDOM.scm)
        for name, parameter in network.named_parameters():
            if name.endswith((".beta", ".gamma")):
                torch.nn.init.normal_(parameter, std=0.3)
        return network.eval().requires_grad_(False)

    return build


@pytest.fixture(scope="session")
def random_networks(correction: Correct) -> tuple[Assessor, AIR, NAFNet]:
    torch.manual_seed(1)
    assessor = Assessor(RANDOM.clip, RANDOM.names, most_views=4).eval().requires_grad_(False)
    return assessor, AIR(RANDOM.air).eval().requires_grad_(False), correction(0)


@pytest.fixture
def autodir(random_networks: tuple[Assessor, AIR, NAFNet]) -> Callable[..., AutoDIR]:
    """Builds AutoDIR on random networks; an assessor, a correction, or words of the configuration may be given."""

    def build(*, assessor=None, scm=None, fidelity=None, strength=None, **loop) -> AutoDIR:
        changed = replace(RANDOM, fidelity=fidelity or {}, strength=strength or {}, loop=replace(RANDOM.loop, **loop))
        default_assessor, air, default_scm = random_networks
        return AutoDIR(changed, assessor or default_assessor, air, scm or default_scm, torch.device("cpu"))

    return build
