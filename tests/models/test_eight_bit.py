"""Weights in 8 bits differ from the originals by half a step at most, and take half the room."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import save_file

from models.eight_bit import SCALE, from_eight_bits, in_eight_bits

WEIGHTS = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=4, max_side=4), elements=st.floats(-4, 4, width=32).map(np.float32)
)


@settings(deadline=None)  # importing torch's parts takes seconds in the first example
@given(values=WEIGHTS)
def test_a_weight_is_off_by_half_a_step_of_its_row_at_most(values):
    exact = torch.from_numpy(values)
    found = from_eight_bits(in_eight_bits({"w": exact}))["w"]
    assert found.shape == exact.shape
    rows, error = exact.flatten(1), (found - exact).flatten(1).abs()
    step = rows.abs().amax(dim=1, keepdim=True) / 127
    # half a step, what rounding the step to half precision can clip, and the smallest half for rows next to 0
    assert bool((error <= 0.5 * step * 1.001 + 127 * (step * 2**-11 + 2**-25)).all())


@settings(deadline=None)  # importing torch's parts takes seconds in the first example
@given(values=WEIGHTS)
def test_storing_again_what_was_read_changes_nothing(values):
    once = from_eight_bits(in_eight_bits({"w": torch.from_numpy(values)}))
    twice = from_eight_bits(in_eight_bits(once))
    torch.testing.assert_close(twice["w"], once["w"], rtol=2**-10, atol=2**-20)


def test_only_matrices_and_kernels_change_and_the_file_is_half_as_large(tmp_path):
    state = {
        "kernel": torch.randn(64, 32, 3, 3), "bias": torch.randn(64), "count": torch.tensor([[3]]),
        "empty": torch.zeros(2, 5),
    }  # fmt: skip
    stored = in_eight_bits(state)
    assert set(stored) == {*state, "kernel" + SCALE, "empty" + SCALE}
    read = from_eight_bits(stored)
    assert list(read) == list(state)
    for name in ("bias", "count", "empty"):
        assert torch.equal(read[name], state[name])
    sizes = []
    for tensors in (stored, {"kernel": state["kernel"].half()}):
        save_file({name: value for name, value in tensors.items() if "kernel" in name}, tmp_path / "f")
        sizes.append((tmp_path / "f").stat().st_size)
    assert sizes[0] < 0.52 * sizes[1]
