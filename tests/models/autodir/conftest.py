"""Ways to run AutoDIR on random networks and to count its work."""

import copy
from collections.abc import Callable, Iterator

import pytest
from random_pictures import random_picture
from torch import Tensor, nn

from models.autodir.restorer import AutoDIR
from models.controls import Controls
from models.drive import restore_one
from models.restorer import Request


@pytest.fixture(scope="session")
def restore() -> Callable[..., Tensor]:
    """Restores the picture of a seed with the given controls."""

    def restore(model, seed=0, **controls) -> Tensor:
        return restore_one(model, Request(image=random_picture(seed=seed), controls=Controls(**controls))).image

    return restore


@pytest.fixture
def count_rows() -> Iterator[Callable[[nn.Module], list[int]]]:
    """Records the batch size of each call of a module until the test ends."""
    hooks = []

    def count(module: nn.Module) -> list[int]:
        rows = []
        hooks.append(module.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0]))))
        return rows

    yield count
    for hook in hooks:
        hook.remove()


@pytest.fixture
def random_copy(autodir: Callable[..., AutoDIR]) -> Callable[[], AutoDIR]:
    """Builds AutoDIR on networks of its own, which a test may change."""

    def build() -> AutoDIR:
        model = autodir()
        air, scm = copy.deepcopy(model.air), copy.deepcopy(model.scm)
        return AutoDIR(model.config, model.assessor, air, scm, model.device)

    return build
