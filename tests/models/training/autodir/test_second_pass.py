"""Pictures for a second pass: they are repaired, and labels and possible answers follow."""

import pytest
import torch
from safetensors.torch import save_file

from models.autodir.specialists import SpecialistConfig, Specialists
from models.errors import TrainingError
from models.networks.drunet import DRUNetConfig
from models.training.autodir.second_pass import load_specialists, repair_batch

NAMES = ("noise", "rain", "blur", "clean")
CONFIGS = {
    "detail": SpecialistConfig(names=("noise",), network=DRUNetConfig(width=4, blocks=(1, 1), patch=2, tonal=True)),
    "weather": SpecialistConfig(names=("rain",), network=DRUNetConfig(width=6, blocks=(1, 1), patch=2, tonal=True)),
}


@pytest.fixture
def specialists(adding):
    levels = {"detail": 0.25, "weather": -0.5}
    return Specialists(CONFIGS, {key: adding(config.network, levels[key]) for key, config in CONFIGS.items()})


def one_hot(*shares):
    return torch.tensor([[float(share.get(name, 0)) for name in NAMES] for share in shares])


def repaired(specialists, labels, kinds):
    pictures = torch.zeros(len(kinds), 3, 8, 8)
    label = torch.tensor([NAMES.index(kind) for kind in kinds])
    return repair_batch(pictures, labels, label, specialists, NAMES)


def test_each_kind_is_repaired_by_its_own_specialist(specialists):
    pictures = repaired(specialists, one_hot({"noise": 1}, {"rain": 1}), ["noise", "rain"]).pictures
    torch.testing.assert_close(pictures[0], torch.full((3, 8, 8), 0.25))
    torch.testing.assert_close(pictures[1], torch.full((3, 8, 8), -0.5))


def test_after_one_kind_a_picture_is_clean_and_after_one_of_two_it_has_the_other(specialists):
    labels = one_hot({"noise": 1}, {"noise": 0.5, "rain": 0.5})
    remaining = repaired(specialists, labels, ["noise", "rain"]).labels
    assert torch.equal(remaining, one_hot({"clean": 1}, {"noise": 1}))


def test_the_repaired_kind_is_no_longer_a_possible_answer(specialists):
    result = repaired(specialists, one_hot({"noise": 1}), ["noise"])
    probabilities = (torch.tensor([[9.0, 1.0, 1.0, 2.0]]) + result.logit_offsets).softmax(dim=-1)
    assert probabilities[0, 0] == 0 and probabilities.argmax() == NAMES.index("clean")
    loss = torch.nn.functional.cross_entropy(torch.zeros(1, 4) + result.logit_offsets, result.labels)
    torch.testing.assert_close(loss, torch.tensor(3.0).log())


@pytest.mark.parametrize("kind", ["blur", "clean"])
def test_a_kind_without_a_specialist_does_not_change(specialists, kind):
    labels = one_hot({kind: 1})
    result = repaired(specialists, labels, [kind])
    assert not result.pictures.any() and torch.equal(result.labels, labels) and not result.logit_offsets.any()


def test_the_input_does_not_change(specialists):
    labels = one_hot({"noise": 1})
    repaired(specialists, labels, ["noise"])
    assert torch.equal(labels, one_hot({"noise": 1}))


def test_trained_specialists_are_loaded_by_their_names(adding, tmp_path):
    files = {key: tmp_path / f"{key}.safetensors" for key in CONFIGS}
    for key, path in files.items():
        save_file(adding(CONFIGS[key].network, 0.1).state_dict(), path)
    assert load_specialists(CONFIGS, files).key_of("rain") == "weather"
    only = load_specialists(CONFIGS, {"weather": files["weather"]})
    assert only.key_of("noise") is None and list(only.networks) == ["weather"]
    with pytest.raises(TrainingError, match=r"weather\.safetensors does not fit DRUNet"):
        load_specialists(CONFIGS, {"detail": files["weather"]})
