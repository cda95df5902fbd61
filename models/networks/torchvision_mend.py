"""Makes torchvision importable beside a CPU build of torch.

torchvision 0.28 links its C++ operators against CUDA.  Beside a CPU build of torch they do not load, and the import
fails at the shape of `torchvision::nms`; open_clip, timm and diffusers then fail, too.  Declaring the schemas of the
two operators first is enough: nothing here calls them, and `torchvision.ops.nms` still raises its own clear error.
"""

import importlib
import sys

import torch

_declared: list[torch.library.Library] = []  # the operators vanish when their Library is collected


def mend_torchvision() -> None:
    """Make `import torchvision` work; does nothing where it already does, and hides no other error."""
    if "torchvision" in sys.modules:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _declared.append(library)
        importlib.import_module("torchvision")
