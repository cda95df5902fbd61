"""Small random checkpoints of the DA-CLIP family in the released layouts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.daclip.conditional_nafnet import ConditionalNAFNet, NAFNetConfig
from models.daclip.config import DaCLIPConfig
from models.daclip.restorer import DaCLIPRestorer
from models.prompt_plan import PromptStyle

State = dict[str, Tensor]


@pytest.fixture(scope="session")
def vectors(daclip_vectors) -> Callable[[str], dict[str, Tensor]]:
    """Reads a vector file by its name."""
    return lambda name: load_file(daclip_vectors / f"{name}.safetensors")


@pytest.fixture(scope="session")
def random_state(weights, daclip_shapes) -> Callable[..., State]:
    """Builds the tensors of a checkpoint; `context` replaces the context width 48 of the small U-Nets."""

    def make(name: str, context: int | None = None) -> State:
        state = {}
        for key, shape in daclip_shapes(f"{name}_small").items():
            takes_context = "attn2.to_k" in key or "attn2.to_v" in key or key == "text_mlp.0.weight"
            if context is not None and takes_context:
                shape = (shape[0], context)
            state[key] = weights.daclip_tensor(key, tuple(shape))
        return state

    return make


@pytest.fixture(scope="session")
def checkpoint_file(random_state, tmp_path_factory) -> Callable[..., Path]:
    """Writes such a checkpoint as the authors' file."""

    def write(name: str, context: int | None = None) -> Path:
        path = tmp_path_factory.mktemp("released") / f"{name}.pt"
        torch.save(_file_content(name, random_state(name, context)), path)
        return path

    return write


def _file_content(name: str, state: State) -> object:
    """DA-CLIP's file is a training checkpoint, with numpy scalars and DataParallel's prefix; others are flat."""
    if name != "daclip":
        return state
    settings = {"state": {}, "param_groups": [{"lr": np.float64(1e-5), "params": [0]}]}
    parallel = {f"module.{key}": value for key, value in state.items()}
    return {"epoch": 50, "name": "random", "state_dict": parallel, "optimizer": settings}


@pytest.fixture(scope="session")
def one_step_beside() -> Callable[..., DaCLIPRestorer]:
    """Builds the controller of another restorer beside a random NAFNet whose zero gains are not zero."""

    def build(published: DaCLIPRestorer, prompts: PromptStyle = "free") -> DaCLIPRestorer:
        config = NAFNetConfig(width=32, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1), context_dim=64)
        torch.manual_seed(0)
        network = ConditionalNAFNet(config).eval().requires_grad_(False)
        for name, value in network.named_parameters():
            if name.endswith(("beta", "gamma", "proj_out.weight")):
                torch.nn.init.normal_(value, std=0.1)
        whole = DaCLIPConfig(
            words=published.config.words, controller=published.config.controller, nafnet=config, prompts=prompts
        )
        return DaCLIPRestorer(whole, published.controller, network, torch.device("cpu"))

    return build
