"""The names of MAXIM's tensors: the authors' paths, and ours."""

from collections.abc import Iterator, Mapping
from typing import Any

from models.convert.rule_table import Rule
from models.convert.sizes import Shapes, count_modules
from models.errors import BundleError
from models.maxim.config import CHANNELS, MAXIMConfig

LEVELS = len(CHANNELS)
Names = Mapping[str, Any]
"""theirs -> ours, or theirs -> (ours, the names inside); theirs is a regular expression, and may name groups."""


def _gated_mlp(unit: str) -> Names:
    return {
        "LayerNorm": "norm", "in_project": "expand", f"{unit}.intermediate_layernorm": "gate_norm",
        f"{unit}.Dense_0": "mixing", "out_project": "project",
    }  # fmt: skip


MIXING: Names = {
    "LayerNorm_in": "norm", "in_project": "expand", "out_project": "project",
    "GridGmlpLayer": ("grid", _gated_mlp("GridGatingUnit")),
    "BlockGmlpLayer": ("block", _gated_mlp("BlockGatingUnit")),
}  # fmt: skip
GATES: Names = {
    "LayerNorm_in": "norm", "in_project": "expand", "Dense_0": "grid", "Dense_1": "block", "out_project": "project",
}  # fmt: skip
CHANNEL_ATTENTION: Names = {"Conv_0": "squeeze", "Conv_1": "excite"}
CONVOLUTIONAL: Names = {
    "LayerNorm": "norm", "conv1": "conv1", "conv2": "conv2", "channel_attention": ("attention", CHANNEL_ATTENTION),
}  # fmt: skip
DENSE: Names = {
    "LayerNorm": "norm", r"channel_mixing.Dense_0": "dense1", r"channel_mixing.Dense_1": "dense2",
    "channel_attention": ("attention", CHANNEL_ATTENTION),
}  # fmt: skip
GROUPS: Names = {
    "Conv_0": "entry",
    r"SplitHeadMultiAxisGmlpLayer_(?P<k>\d)": (r"mixings.\g<k>", MIXING),
    r"channel_attention_block_1(?P<k>\d)": (r"attentions.\g<k>", CONVOLUTIONAL),
}
BOTTLENECK: Names = {
    "input_proj": "entry",
    r"SplitHeadMultiAxisGmlpLayer_(?P<k>\d)": (r"mixings.\g<k>", MIXING),
    r"channel_attention_block_1_(?P<k>\d)": (r"attentions.\g<k>", DENSE),
}
CROSS_GATING: Names = {
    "ConvTranspose_0": "enlarge", "Conv_0": "entry_x", "Conv_1": "entry_y",
    **{f"LayerNorm_{x}": f"norm_{x}" for x in "xy"},
    **{f"in_project_{x}": f"into_{x}" for x in "xy"},
    **{f"out_project_{x}": f"out_{x}" for x in "xy"},
    **{f"SplitHeadMultiAxisGating_{x}": (f"gates_{x}", GATES) for x in "xy"},
}  # fmt: skip
STAGE: Names = {
    r"input_conv_(?P<i>\d)": r"inputs.\g<i>",
    r"input_fuse_sam_(?P<i>\d)": (r"fusions.\g<i>", CROSS_GATING),
    r"encoder_block_(?P<i>\d)": (
        r"encoders.\g<i>", {"Conv_1": "halve", "cross_gating_block": ("gating", CROSS_GATING)},
    ),
    r"(?P<r>encoder)_block_(?P<i>\d)": (r"\g<r>s.\g<i>.groups", GROUPS),
    r"global_block_(?P<i>\d)": (r"bottlenecks.\g<i>", BOTTLENECK),
    r"cross_gating_block_(?P<i>\d)": (r"gatings.\g<i>", CROSS_GATING),
    r"decoder_block_(?P<i>\d)": (r"decoders.\g<i>", {
        "ConvTranspose_0": "enlarge", "UNetEncoderBlock_0": ("groups", GROUPS),
    }),
    r"supervised_attention_module_(?P<i>\d)": (
        r"supervisors.\g<i>", {"Conv_0": "features", "Conv_1": "picture", "Conv_2": "weights"},
    ),
    "output_conv_0": "output",
}  # fmt: skip


def maxim_config(shapes: Shapes) -> MAXIMConfig:
    """Returns the configuration of a network.

    Raises:
        BundleError: no tensor belongs to a stage.
    """
    stages = count_modules(shapes, r"stage_(\d+)_")
    if not stages:
        raise BundleError("the model has no tensor of a stage. It is not MAXIM.")
    return MAXIMConfig(stages=stages)


def maxim_rules(network: str, stages: int) -> list[Rule]:
    """Returns the rules for a network that has this name in its bundle."""
    start = f"{network}:stages."
    rules = [
        Rule(rf"stage_(?P<s>\d)_{theirs}\.(?P<leaf>weight|bias)", rf"{start}\g<s>.{ours}.\g<leaf>")
        for theirs, ours in _flat(STAGE)
    ]
    for number, ours in _resizings(stages):
        rules.append(Rule(rf"UpSampleRatio_{number}\.Conv_0\.(?P<leaf>weight|bias)", rf"{start}{ours}.\g<leaf>"))
    return rules


def _flat(names: Names) -> Iterator[tuple[str, str]]:
    for theirs, ours in names.items():
        if isinstance(ours, str):
            yield theirs, ours
        else:
            yield from ((rf"{theirs}\.{inner}", f"{ours[0]}.{own}") for inner, own in _flat(ours[1]))


def _resizings(stages: int) -> Iterator[tuple[int, str]]:
    """Yields the authors' numbers of resizings, which count through all stages, and our names."""
    number = 0
    for stage in range(stages):
        for ours, upward in (("to_gatings", False), ("to_decoders", True)):
            for target in reversed(range(LEVELS)):
                for source in reversed(range(LEVELS)) if upward else range(LEVELS):
                    yield number, rf"{stage}.{ours}.{target}.{source}.linear"
                    number += 1
