"""DA-CLIP's released checkpoints: sizes from the tensors' shapes, and the tables of rules.

The authors' keys are those of their copy of open_clip and of IR-SDE's code; ours are the same for each module.
Properties that do not show in a shape are the published ones: in CLIP one head per 64 channels, but at least 4; in the
U-Net heads of 32 channels; GELU; the noise schedule.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.convert.rule_table import Rule
from models.convert.sizes import Shapes, clip_heads, count_modules, mlp_ratio, shape_of
from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet, UNetConfig
from models.daclip.controller import ControllerConfig, DaCLIP
from models.errors import BundleError
from models.networks.clip import ClipConfig, TextConfig, VisionConfig

COPY, ORIGINAL = "visual.", "clip.visual."
"""The image encoder is stored twice, under these prefixes."""

UNUSED = r"(.*\.)?transformer_blocks\.\d+\.(attn2\.to_[qk]\.weight|norm2\.(weight|bias))"
"""Queries, keys and their norm, which have no effect with a single context token."""

CONTROLLER_RULES = [
    Rule(r"visual\..*", None),  # call `check_copy` first
    Rule(r"clip\.(.*)", r"daclip:clip.\1"),
    Rule(r"logit_scale", "daclip:logit_scale"),
    Rule(r"visual_control\.transformer\.transformer\.(.*)", r"daclip:controller.transformer.\1"),
    Rule(r"visual_control\.transformer\.zero_modules\.(.*)", r"daclip:links.\1"),
    Rule(r"visual_control\.(.*)", r"daclip:controller.\1"),
]
UNET_RULES = [Rule(UNUSED, None), Rule(r"(.*)", r"unet:\1")]
NAFNET_RULES = [Rule(UNUSED, None), Rule(r"(.*)", r"nafnet:\1")]


def network_kind(shapes: Shapes) -> str:
    """Returns "daclip", "unet" or "nafnet", recognized by a key that only this network has.

    Raises:
        BundleError: it is none of them.
    """
    for key, kind in (
        ("visual_control.proj", "daclip"),
        ("mid_block1.mlp.1.weight", "unet"),
        ("intro.weight", "nafnet"),
    ):
        if key in shapes:
            return kind
    first = next(iter(shapes), "no tensors")
    raise BundleError(
        f"the checkpoint (with {first}) is neither DA-CLIP nor one of its restoration networks. Check the files."
    )


def check_copy(state: Mapping[str, Tensor]) -> None:
    """Check that the two copies of the image encoder are equal, because one of them is dropped.

    Raises:
        BundleError: the copies differ, or a tensor is missing.
    """
    for key, value in state.items():
        if key.startswith(COPY):
            original = state.get(ORIGINAL + key.removeprefix(COPY))
            if original is None or original.shape != value.shape or not torch.equal(original, value):
                raise BundleError(
                    f"the checkpoint's {key} differs from its copy {ORIGINAL}{key.removeprefix(COPY)}. It is damaged."
                )


# --- sizes


def controller_config(shapes: Shapes) -> ControllerConfig:
    """Returns the configuration of DA-CLIP from the shapes of daclip_*.pt.

    Raises:
        BundleError: a tensor that is needed for a size is missing; the message names it.
    """

    def shape(key: str, dimensions: int) -> torch.Size:
        return shape_of(
            shapes, key, dimensions, "it is not DA-CLIP's. Use daclip_ViT-B-32.pt or wild-daclip_ViT-L-14.pt."
        )

    width, _, patch, _ = shape("clip.visual.conv1.weight", 4)
    positions = shape("clip.visual.positional_embedding", 2)[0]
    length, text_width = shape("clip.positional_embedding", 2)
    vision_rows = shape("clip.visual.transformer.resblocks.0.mlp.c_fc.weight", 2)[0]
    text_rows = shape("clip.transformer.resblocks.0.mlp.c_fc.weight", 2)[0]
    return ControllerConfig(
        clip=ClipConfig(
            embed_dim=shape("clip.visual.proj", 2)[1],
            vision=VisionConfig(
                image_size=math.isqrt(positions - 1) * patch,
                layers=count_modules(shapes, r"clip\.visual\.transformer\.resblocks\.(\d+)\."),
                width=width,
                patch_size=patch,
                head_width=width // clip_heads(width),
                mlp_ratio=mlp_ratio(vision_rows, width),
            ),
            text=TextConfig(
                context_length=length,
                vocab_size=shape("clip.token_embedding.weight", 2)[0],
                width=text_width,
                heads=clip_heads(text_width),
                layers=count_modules(shapes, r"clip\.transformer\.resblocks\.(\d+)\."),
                mlp_ratio=mlp_ratio(text_rows, text_width),
            ),
            quick_gelu=False,
        )
    )


def unet_config(shapes: Shapes) -> UNetConfig:
    """Returns the configuration of an IR-SDE U-Net with DA-CLIP's conditions, such as universal-ir.pth and wild-ir.pth.

    Raises:
        BundleError: a tensor that is needed for a size is missing, or the U-Net has no condition.
    """

    def shape(key: str, dimensions: int) -> torch.Size:
        return shape_of(shapes, key, dimensions, "it is not an IR-SDE U-Net. Use universal-ir.pth or wild-ir.pth.")

    width = shape("init_conv.weight", 4)[0]
    levels = count_modules(shapes, r"downs\.(\d+)\.")
    token = "mid_attn.fn.fn.transformer_blocks.0.attn2.to_v.weight"
    prompt, cross = "prompt" in shapes, token in shapes
    if not (prompt or cross):
        raise BundleError("the checkpoint's U-Net takes no embedding of DA-CLIP. Use universal-ir.pth or wild-ir.pth.")
    return UNetConfig(
        width=width,
        multipliers=tuple(shape(f"downs.{level}.3.weight", 4)[0] // width for level in range(levels)),
        context_dim=shape(token if cross else "text_mlp.0.weight", 2)[1],
        prompt=prompt,
        cross=cross,
        half_scale="downsample.weight" in shapes,
        channels=shape("final_conv.weight", 4)[0],
    )


def nafnet_config(shapes: Shapes) -> NAFNetConfig:
    """Returns the configuration of IR-SDE's NAFNet, or of ours with DA-CLIP's conditions.

    Raises:
        BundleError: a tensor that is needed for a size is missing.
    """

    def shape(key: str, dimensions: int) -> torch.Size:
        return shape_of(shapes, key, dimensions, "it is not a NAFNet of IR-SDE's layout.")

    levels = count_modules(shapes, r"encoders\.(\d+)\.")
    return NAFNetConfig(
        width=shape("intro.weight", 4)[0],
        encoder_blocks=tuple(count_modules(shapes, rf"encoders\.{level}\.(\d+)\.") for level in range(levels)),
        middle_blocks=count_modules(shapes, r"middle_blks\.(\d+)\."),
        decoder_blocks=tuple(count_modules(shapes, rf"decoders\.{level}\.(\d+)\.") for level in range(levels)),
        timed="time_mlp.1.weight" in shapes,
        context_dim=shape("text_mlp.0.weight", 2)[1] if "prompt" in shapes else None,
    )


# --- networks, on the meta device: no memory, no random init


def controller_on_meta(config: ControllerConfig) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {"daclip": DaCLIP(config)}


def unet_on_meta(config: UNetConfig) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {"unet": ConditionalUNet(config)}


def nafnet_on_meta(config: NAFNetConfig) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {"nafnet": ConditionalNAFNet(config)}
