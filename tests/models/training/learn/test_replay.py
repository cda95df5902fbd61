"""The evidence that ships belongs to the encoder of the shipped bundle, and its labels to its names."""

import pytest
import torch
import torch.nn.functional as F

from models.bundle import find_bundle
from models.families import load_restorer
from models.training.learn.assessor import new_names
from models.training.learn.evidence import encoder_of
from models.training.learn.replay import shipped_evidence

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shipped():
    return load_restorer(find_bundle("autodir-small"), CPU)


def test_the_shipped_assessor_finds_the_labels_of_the_shipped_evidence(shipped):
    """Single crops are hard: the bundle's own validation has 70 to 80 %; wrong labels would leave a tenth."""
    assessor = shipped.assessor
    names = new_names(shipped.config, "stripes")
    found = shipped_evidence(assessor, names)
    prompts = assessor.prompts()[1]
    with torch.no_grad():
        answers = F.normalize(encoder_of(assessor).embed(found.held_old), dim=-1) @ prompts.T
    named = [assessor.names[index] for index in answers.argmax(dim=1)]
    right = sum(name == names[label] for name, label in zip(named, found.held_labels, strict=True))
    assert right / len(named) > 0.6
    assert set(found.held_labels.tolist()) == set(range(len(names))) - {names.index("stripes")}


def test_another_encoder_and_a_bundle_without_the_old_kinds_get_none(shipped, tiny_bundle):
    assert shipped_evidence(shipped.assessor, ("noise", "clean")) is None
    tiny = load_restorer(tiny_bundle, CPU)
    assert shipped_evidence(tiny.assessor, shipped.assessor.names) is None
