"""Tests that need a GPU, and their twins on the CPU: the same lines run here before they run there."""

import pytest
import torch

needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
on_cpu_and_cuda = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)], indirect=True)
"""Runs a test on both devices; its `device` is the fixture below."""


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device by its name.  Float32 is exact there: no TF32, which keeps ten bits in cuDNN's convolutions."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield torch.device(request.param)
    torch.backends.cudnn.allow_tf32 = before
