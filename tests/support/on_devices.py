"""Marks of tests that need a GPU and have twins on the CPU: the same lines run here before they run there."""

import pytest
import torch

needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
on_cpu_and_cuda = pytest.mark.parametrize(
    "device",
    [pytest.param(torch.device("cpu"), id="cpu"), pytest.param(torch.device("cuda", 0), id="cuda", marks=needs_cuda)],
)
"""Runs a test, and the fixtures that it asks for, on both devices."""
