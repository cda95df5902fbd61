"""How close is close enough: one rule for every comparison of two networks' numbers.

A processor chooses its own kernels (AVX-512, AVX2, SSE), and each sums in another order.  The rounding grows with the
numbers inside a network, so a fixed absolute tolerance holds on one machine and fails on the next.  As in
`undegrade models check`, the difference is measured against the largest value of the reference.
"""

from torch import Tensor

NETWORK = 1e-5
"""One network, or one step: about a hundred roundings of float32 (6e-8 each)."""
PROGRAM = 2.5e-4
"""A whole program with random weights, which amplify rounding from step to step and from pass to pass.  It is three
times the worst that was measured with the published program's vectors: 7.8e-5 with SSE4.1 kernels, 4.1e-5 with AVX2."""


def assert_parity(found: Tensor, expected: Tensor, of_range: float = NETWORK, message: str = "") -> None:
    """Fail where `found` differs from `expected` by more than `of_range` times the largest absolute expected value.

    Shapes must be equal, and NaN or infinite values fail.
    """
    assert found.shape == expected.shape, f"{message} got shape {list(found.shape)}, expected {list(expected.shape)}"
    largest = float(expected.detach().double().abs().max())
    difference = float((found.detach().double() - expected.detach().double()).abs().max())
    share = difference / largest if largest else difference
    assert share <= of_range, f"{message} differs by {share:.2e} of the range, expected at most {of_range:.0e}"
