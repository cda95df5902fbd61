"""Muon in float32, for CPUs: torch's own multiplies in bfloat16, which most CPUs compute several times more slowly.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.  The steps are those of torch.optim.Muon.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration: five steps bring singular values from 0.01 to 1 near one (0.68 to 1.14)."""
ITERATIONS = 5
MOMENTUM = 0.95


class Float32Muon(torch.optim.Optimizer):
    """Muon for matrices, with Nesterov momentum.  The state has the names of torch.optim.Muon, so either continues."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], *, lr: float = 1e-3, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # there is no closure in our loop
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["weight_decay"])

    def _update(self, parameter: Tensor, rate: float, weight_decay: float) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - MOMENTUM)
        direction = orthogonalized(gradient.lerp(momentum, MOMENTUM))
        height, width = parameter.shape
        parameter.mul_(1 - rate * weight_decay)
        parameter.add_(direction, alpha=-rate * max(1.0, height / width) ** 0.5)


def orthogonalized(matrix: Tensor) -> Tensor:
    """Returns the matrix with all of its singular values brought near one: (N, M) -> (N, M)."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
