"""What the assessor is shown of a second pass: repaired pictures, what is left in them, and what may be answered."""

import pytest
import torch
from safetensors.torch import save_file

from models.autodir.specialists import SpecialistConfig, Specialists
from models.errors import TrainingError
from models.networks.drunet import DRUNetConfig
from models.training.autodir.second_pass import load_specialists, repair

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


def shown(specialists, labels, kinds):
    pictures = torch.zeros(len(kinds), 3, 8, 8)
    label = torch.tensor([NAMES.index(kind) for kind in kinds])
    return repair(pictures, labels, label, specialists, NAMES)


def test_each_kind_is_repaired_by_its_own_specialist(specialists):
    pictures, _, _ = shown(specialists, one_hot({"noise": 1}, {"rain": 1}), ["noise", "rain"])
    torch.testing.assert_close(pictures[0], torch.full((3, 8, 8), 0.25))
    torch.testing.assert_close(pictures[1], torch.full((3, 8, 8), -0.5))


def test_one_kind_leaves_a_clean_picture_and_two_leave_the_other(specialists):
    labels = one_hot({"noise": 1}, {"noise": 0.5, "rain": 0.5})
    _, left, _ = shown(specialists, labels, ["noise", "rain"])
    assert torch.equal(left, one_hot({"clean": 1}, {"noise": 1}))


def test_what_was_repaired_can_no_longer_be_answered(specialists):
    _, left, gone = shown(specialists, one_hot({"noise": 1}), ["noise"])
    probabilities = (torch.tensor([[9.0, 1.0, 1.0, 2.0]]) + gone).softmax(dim=-1)
    assert probabilities[0, 0] == 0 and probabilities.argmax() == NAMES.index("clean")
    loss = torch.nn.functional.cross_entropy(torch.zeros(1, 4) + gone, left)
    torch.testing.assert_close(loss, torch.tensor(3.0).log())


@pytest.mark.parametrize("kind", ["blur", "clean"])
def test_what_nobody_is_a_specialist_for_stays_as_it_is(specialists, kind):
    labels = one_hot({kind: 1})
    pictures, left, gone = shown(specialists, labels, [kind])
    assert not pictures.any() and torch.equal(left, labels) and not gone.any()


def test_the_batch_that_came_in_is_not_changed(specialists):
    labels = one_hot({"noise": 1})
    shown(specialists, labels, ["noise"])
    assert torch.equal(labels, one_hot({"noise": 1}))


def test_trained_specialists_are_loaded_by_their_names(adding, tmp_path):
    files = {key: tmp_path / f"{key}.safetensors" for key in CONFIGS}
    for key, path in files.items():
        save_file(adding(CONFIGS[key].network, 0.1).state_dict(), path)
    assert load_specialists(CONFIGS, files).key_of("rain") == "weather"
    only = load_specialists(CONFIGS, {"weather": files["weather"]})
    assert only.key_of("noise") is None and list(only.networks) == ["weather"]
    with pytest.raises(TrainingError, match=r"weather\.safetensors is no specialist 'detail'"):
        load_specialists(CONFIGS, {"detail": files["weather"]})
