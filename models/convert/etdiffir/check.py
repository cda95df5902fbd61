"""Does ETDiffIR's U-Net, converted, answer as the authors' module did?  The vectors' names begin e_erunet_.

As with the DA-CLIP family's networks the tolerance is 1e-5 of the range: values reach 290, of which float32 keeps 3e-5.

Shapes:  B images, H W pixels, D context.
"""

from collections.abc import Iterator
from pathlib import Path

from models.convert.bundle_writer import OnProgress
from models.convert.checkpoint import open_checkpoint
from models.convert.daclip.check import loaded, unet
from models.convert.etdiffir.bundle import ERUNET_RULES, erunet_config, erunet_on_meta
from models.convert.verdicts import Check, Row, compare, files_there
from models.daclip.conditional_unet import ConditionalUNet
from models.etdiffir.erunet import EfficientUNet


def load_erunet(checkpoint: Path) -> EfficientUNet:
    """The U-Net of a checkpoint of the authors' layout, in float32 on the CPU.

    Raises:
        BundleError: it is missing, damaged, unsafe or of another model.
    """
    state = open_checkpoint(checkpoint)
    config = erunet_config({key: value.shape for key, value in state.items()})
    network = loaded(state, erunet_on_meta(config), ERUNET_RULES)
    assert isinstance(network, EfficientUNet)
    return network


def check_erunet(checkpoint: Path, vectors: Path, on_progress: OnProgress | None = None) -> Iterator[Row | str]:
    """A row for each group of tensors that is there; the names of the files that are not.

    Raises:
        ControlsError: there is no vector file at all.
        BundleError: the checkpoint cannot be converted, or a vector file cannot be read or lacks a tensor.
    """
    names = sorted(path.stem for path in vectors.glob("e_erunet_*.safetensors")) or ["e_erunet_small"]
    checks: dict[str, Check[ConditionalUNet]] = dict.fromkeys(names, unet)
    files_there(vectors, checks)  # before anything is converted
    yield from compare(load_erunet(checkpoint), checks, vectors)
