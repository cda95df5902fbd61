"""Fixtures of the worker's tests: torch on one thread, so that results can be compared bit for bit."""

import pytest


@pytest.fixture
def one_thread():
    import torch  # not at the top: several tests here never need torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
