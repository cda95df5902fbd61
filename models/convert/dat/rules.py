"""The names of DAT's tensors: the authors' keys, and ours."""

from models.convert.rule_table import Rule, with_prefix
from models.convert.sizes import Shapes, count_modules, shape_of
from models.dat.config import DATConfig
from models.errors import BundleError

LEAF = r"\.(weight|bias)"


def dat_config(shapes: Shapes) -> DATConfig:
    """Returns the configuration of a network.

    Raises:
        BundleError: a tensor is missing, or this is a larger DAT, which differs in more than its sizes.
    """
    why = "its sizes cannot be read. It is not DAT-light"
    output, intro = (shape_of(shapes, f"{key}.weight", 4, f"{why}.") for key in ("upsample.0", "conv_first"))
    heads = shape_of(shapes, "layers.0.blocks.1.attn.temperature", 3, f"{why}.")[0]
    bias = shape_of(shapes, "layers.0.blocks.0.attn.attns.0.pos.pos_proj.weight", 2, f"{why}.")[0]
    hidden = shape_of(shapes, "layers.0.blocks.0.ffn.fc1.weight", 2, f"{why}.")[0]
    # A wider network normalizes several channels there, so its bias depends on the position (models/dat/attention.py)
    if count_modules(shapes, r"layers\.(\d+)\.") != 1 or bias != 1:
        raise BundleError("the checkpoint is a larger DAT, expected DAT-light. Give a package of DAT-light.")
    return DATConfig(
        scale=round((output[0] / 3) ** 0.5), width=intro[0], heads=heads, expansion=hidden // intro[0],
        blocks=count_modules(shapes, r"layers\.0\.blocks\.(\d+)\."),
    )  # fmt: skip


def dat_rules(network: str) -> list[Rule]:
    """Returns the rules for a network that has this name in its bundle."""
    return [
        # The bias of positions is a constant, and index tables and masks follow from the sizes
        Rule(r".*\.attn\.(attns\..*|attn_mask_[01]|.*\.num_batches_tracked)", None),
        Rule(rf"conv_first{LEAF}", rf"{network}:intro.\1"),
        Rule(rf"before_RG\.1{LEAF}", rf"{network}:norm.\1"),
        Rule(rf"norm{LEAF}", rf"{network}:norm_after.\1"),
        Rule(rf"upsample\.0{LEAF}", rf"{network}:output.\1"),
        *_narrowing(r"layers\.0\.conv", f"{network}:group_end"),
        *_narrowing("conv_after_body", f"{network}:body_end"),
        *with_prefix(r"layers\.0\.blocks\.(\d+)\.", rf"{network}:blocks.\1.", _block()),
    ]


def _narrowing(theirs: str, ours: str) -> list[Rule]:
    parts = (("0", "enter"), ("2", "within"), ("4", "leave"))
    return [Rule(rf"{theirs}\.{number}{LEAF}", rf"{ours}.{name}.\1") for number, name in parts]


def _block() -> list[Rule]:
    """Returns the rules of a block; the first group of a pattern is the block's number."""
    leaf, deeper = LEAF, r"aggregation"
    return [
        Rule(rf"norm1{leaf}", r"norm.\2"),
        Rule(rf"norm2{leaf}", r"norm_after.\2"),
        Rule(rf"ffn\.fc1{leaf}", r"feed_forward.expand.\2"),
        Rule(rf"ffn\.fc2{leaf}", r"feed_forward.shrink.\2"),
        Rule(rf"ffn\.sg\.(norm|conv){leaf}", r"feed_forward.\2.\3"),
        Rule(rf"attn\.qkv{leaf}", rf"{deeper}.qkv.\2"),
        Rule(rf"attn\.proj{leaf}", rf"{deeper}.projection.\2"),
        Rule(r"attn\.temperature", rf"{deeper}.temperature"),
        *_normed(r"attn\.dwconv\.0", r"attn\.dwconv\.1", f"{deeper}.beside"),
        *_normed(r"attn\.channel_interaction\.1", r"attn\.channel_interaction\.2", f"{deeper}.to_channels"),
        Rule(rf"attn\.channel_interaction\.4{leaf}", rf"{deeper}.channel_gate.\2"),
        *_normed(r"attn\.spatial_interaction\.0", r"attn\.spatial_interaction\.1", f"{deeper}.to_space"),
        Rule(rf"attn\.spatial_interaction\.3{leaf}", rf"{deeper}.space_gate.\2"),
    ]


def _normed(conv: str, norm: str, ours: str) -> list[Rule]:
    names = (("weight", "gain"), ("bias", "offset"), ("running_mean", "mean"), ("running_var", "variance"))
    return [
        Rule(rf"{conv}{LEAF}", rf"{ours}.conv.\2"),
        *(Rule(rf"{norm}\.{theirs}", f"{ours}.{name}") for theirs, name in names),
    ]
