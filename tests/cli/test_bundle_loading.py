"""Finding and loading bundles."""

import pytest

from cli.bundle_loading import report_out_of_memory
from models.errors import DeviceError


def test_running_out_of_memory_is_a_device_error_with_advice():
    import torch

    with pytest.raises(DeviceError, match=r"out of memory\. Close other programs"), report_out_of_memory():
        torch.empty(2**50)  # 4 PiB
    with pytest.raises(RuntimeError, match="size"), report_out_of_memory():
        torch.zeros(2) + torch.zeros(3)  # other errors pass through
