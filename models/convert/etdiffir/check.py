"""Checks ETDiffIR's converted U-Net against outputs recorded from the authors' module: vectors named e_erunet_*.

The tolerance is 1e-5 of the range, as for the DA-CLIP family: values reach 290, where float32 is exact to 3e-5.

Shapes:  B images, H W pixels, D context.
"""

from collections.abc import Iterator
from pathlib import Path

from models.convert.bundle_writer import OnProgress
from models.convert.daclip.check import check_unet_outputs
from models.convert.etdiffir.rules import ERUNET_RULES, erunet_config, erunet_on_meta
from models.convert.loading import load_converted
from models.convert.open_checkpoint import open_checkpoint
from models.convert.sizes import shapes_of
from models.convert.verdicts import Check, Row, compare, matching_names, vector_files
from models.daclip.conditional_unet import ConditionalUNet
from models.etdiffir.erunet import EfficientUNet


def load_erunet(checkpoint: Path) -> EfficientUNet:
    """Load the U-Net of a checkpoint of the authors' layout, in float32 on the CPU.

    Raises:
        BundleError: the checkpoint is missing, damaged, unsafe or of another model.
    """
    state = open_checkpoint(checkpoint)
    config = erunet_config(shapes_of(state))
    network = load_converted(state, erunet_on_meta(config), ERUNET_RULES)
    assert isinstance(network, EfficientUNet)
    return network


def check_erunet(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """Yield a row for each group of tensors, and the name of each missing vector file.

    Raises:
        ControlsError: no vector file exists.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or has no expected tensor.
    """
    names = matching_names(vectors, "e_erunet_*", "e_erunet_small")
    checks: dict[str, Check[ConditionalUNet]] = dict.fromkeys(names, check_unet_outputs)
    vector_files(vectors, checks)  # before anything is converted
    yield from compare(load_erunet(checkpoint), checks, vectors)
