"""What the worker's tests share: torch on one thread, so that bits are compared with bits."""

import pytest


@pytest.fixture
def one_thread():
    import torch  # not at the top: several tests here never need it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
