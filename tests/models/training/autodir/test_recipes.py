"""The recipes of `autodir-small`: mixtures, options as text, and the text encoder that conditions AIR."""

import pytest
import torch
from parity_check import assert_parity

from models.errors import TrainingError
from models.networks.clip import build_clip
from models.training.autodir import autodir_small, recipes
from models.training.core.text_encoder import class_embeddings, text_parameters
from models.training.core.trainer import save_weights
from models.training.text_stage import class_prompts
from models.vocabulary import CLEAN


def test_every_specialist_draws_only_its_own_kinds():
    for name, config in autodir_small.SPECIALISTS.items():
        assert set(recipes.DEFAULTS[name]["mixture"].weights) == {*config.names, CLEAN}
    names = [name for config in autodir_small.SPECIALISTS.values() for name in config.names]
    assert len(names) == len(set(names)) and set(names) < set(autodir_small.NAMES)


def test_a_mixture_is_parsed_from_text():
    assert recipes.parse_mixture("haze=1.3, low-light=1") == {"haze": 1.3, "low-light": 1.0}
    with pytest.raises(TrainingError, match="fog"):
        recipes.parse_mixture("fog=1")
    with pytest.raises(TrainingError, match="haze=much"):
        recipes.parse_mixture("haze=much")


def test_air_is_conditioned_by_the_text_encoder_of_the_file(tmp_path):
    """AIR and SCM use the states of this text encoder, not of a new one."""
    torch.manual_seed(3)
    written = build_clip(autodir_small.CLIP)
    save_weights(text_parameters(written), tmp_path / "text.safetensors")
    read = recipes.text_assessor(tmp_path / "text.safetensors")
    with torch.no_grad():
        states, features = class_embeddings(written, class_prompts("autodir")[1], torch.device("cpu"))
    assert_parity(read.prompts()[0], states)
    assert_parity(read.prompts()[1], features)
