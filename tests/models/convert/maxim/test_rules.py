"""The names of MAXIM's tensors: every constant of the released networks has its own place, of the right shape."""

import numpy as np
import pytest
import torch
from maxim_packages import BACKBONE, released_constants

from models.convert.bundle_writer import plan_tensors
from models.convert.maxim.graph_model import EINSUM, tensor_of
from models.convert.maxim.rules import maxim_config, maxim_rules
from models.convert.rule_table import make_recipe
from models.convert.sizes import shapes_of
from models.errors import BundleError
from models.maxim.config import MAXIMConfig
from models.maxim.network import MAXIM


def released(stages):
    """Tensors under the names that the reader gives them."""
    kernels = {}
    for number, (path, shape) in enumerate(released_constants(stages)):
        name = BACKBONE + path
        if path.endswith(EINSUM):
            kernels[argument := f"StatefulPartitionedCall/jax2tf_arg_{number}/ReadVariableOp"] = name
            name = argument
        yield tensor_of(name, np.zeros(shape, np.float32), kernels)


@pytest.mark.parametrize("stages", [2, 3])
def test_every_constant_has_one_place_of_its_shape_and_no_place_is_left(stages):
    tensors = dict(released(stages))
    assert maxim_config(shapes_of(tensors)) == MAXIMConfig(stages=stages)
    with torch.device("meta"):
        network = MAXIM(MAXIMConfig(stages=stages))
    plan = plan_tensors(tensors, {"maxim": network}, maxim_rules("maxim", stages), torch.float16)
    assert len(plan["maxim"]) == len(tensors) == {2: 1756, 3: 2750}[stages]


def test_resizings_are_numbered_as_the_released_networks_count_them():
    """18 s + 3 (2 - i) + j toward the gatings, and 18 s + 9 + 3 (2 - i) + (2 - j) toward the decoders."""
    recipe = make_recipe(maxim_rules("maxim", 3), [f"UpSampleRatio_{n}.Conv_0.weight" for n in range(54)])
    number = {name: source[0].key for name, source in recipe["maxim"].items()}
    for stage, target, source in [(0, 0, 0), (1, 2, 0), (2, 1, 2), (0, 2, 1)]:
        first = 18 * stage + 3 * (2 - target)
        for ours, expected in (("to_gatings", first + source), ("to_decoders", first + 9 + 2 - source)):
            key = f"stages.{stage}.{ours}.{target}.{source}.linear.weight"
            assert number[key] == f"UpSampleRatio_{expected}.Conv_0.weight"


def test_a_model_without_stages_is_not_maxim():
    with pytest.raises(BundleError, match="It is not MAXIM"):
        maxim_config({"conv.weight": torch.Size([3, 3])})


@pytest.mark.parametrize("change", ["missing", "unknown", "other shape"])
def test_a_network_of_another_version_is_refused(change):
    tensors = dict(released(2))
    key = "stage_0_input_conv_0.weight"
    if change == "missing":
        del tensors[key]
    elif change == "unknown":
        tensors["stage_0_extra.weight"] = torch.zeros(3)
    else:
        tensors[key] = torch.zeros(64, 3, 3, 3)
    with torch.device("meta"):
        network = MAXIM(MAXIMConfig(stages=2))
    with pytest.raises(BundleError, match=r"no tensor for|unknown keys|expected"):
        plan_tensors(tensors, {"maxim": network}, maxim_rules("maxim", 2), torch.float16)
