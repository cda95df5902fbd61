"""Finding and loading bundles."""

import shutil

import pytest

from cli.bundle_loading import find_bundles, report_out_of_memory
from models.errors import ControlsError, DeviceError


def test_running_out_of_memory_is_a_device_error_with_advice():
    import torch

    with pytest.raises(DeviceError, match=r"out of memory\. Close other programs"), report_out_of_memory():
        torch.empty(2**50)  # 4 PiB
    with pytest.raises(RuntimeError, match="size"), report_out_of_memory():
        torch.zeros(2) + torch.zeros(3)  # other errors pass through


def test_two_bundles_of_one_name_are_refused(bundles, workplace):
    shutil.copytree(bundles / "autodir-small", workplace / "autodir-small")
    names = [str(bundles / "autodir-small"), str(workplace / "autodir-small")]
    with pytest.raises(ControlsError, match="two bundles have the same name"):
        find_bundles(names)
    assert find_bundles(names[:1]) == {"autodir-small": (bundles / "autodir-small").resolve()}
