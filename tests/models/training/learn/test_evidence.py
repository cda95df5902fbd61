"""The last layers learn a new kind of evidence and keep their answers on the old kinds."""

import pytest
import torch
import torch.nn.functional as F

from models.autodir.assessor import Assessor
from models.errors import TrainingError
from models.training.learn.evidence import MAX_LOSS, UNITS, Evidence, encoder_of, train_last_layers

OLD, COUNT = 3, 60


def cluster(features, kind, seed, count=COUNT):
    """Evidence with a direction of its own for each kind."""
    direction = F.one_hot(torch.tensor(kind), features).float() * 15
    return direction + torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def taught(tower_config):
    """An assessor that tells three kinds of evidence apart, the evidence, and the prompts of four kinds."""
    torch.manual_seed(0)
    assessor = Assessor(tower_config, ("noise", "rain", "clean"))
    encoder = encoder_of(assessor)
    encoder.dropout.p = 0.0
    features = encoder.hidden.in_features
    prompts = torch.eye(16)[:4]
    old = torch.cat([cluster(features, kind, kind) for kind in range(OLD)])
    labels = torch.arange(OLD).repeat_interleave(COUNT)
    layers = [*encoder.hidden.parameters(), *encoder.project.parameters()]
    optimizer = torch.optim.Adam(layers, lr=0.02)
    encoder.eval()
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(14 * F.normalize(encoder.embed(old), dim=-1) @ prompts[:OLD].T, labels).backward()
        optimizer.step()
    held = torch.cat([cluster(features, kind, 10 + kind) for kind in range(OLD)])
    evidence = Evidence(
        damaged=cluster(features, 5, 20), undamaged=cluster(features, 2, 21), old=old, held_old=held,
        held_labels=labels, held_damaged=cluster(features, 5, 22),
    )  # fmt: skip
    return assessor, evidence, prompts


def test_the_new_kind_is_found_and_the_old_ones_are_kept(taught):
    assessor, evidence, prompts = taught
    learned = train_last_layers(assessor, prompts, evidence, new=3, seed=0)
    assert learned.old_before > 0.85
    assert learned.old_after >= learned.old_before - MAX_LOSS
    assert learned.new > 0.8


def test_the_order_of_the_old_kinds_never_changes(taught):
    assessor, evidence, prompts = taught
    encoder = encoder_of(assessor)
    with torch.no_grad():
        before = F.normalize(encoder.embed(evidence.damaged), dim=-1) @ prompts[:3].T
    train_last_layers(assessor, prompts, evidence, new=3, seed=0)
    with torch.no_grad():
        after = F.normalize(encoder.embed(evidence.damaged), dim=-1) @ prompts[:3].T
    assert (before.argsort(dim=1) == after.argsort(dim=1)).all()
    assert encoder.hidden.out_features == 64 + UNITS


def test_a_plain_image_encoder_is_refused(random_config):
    with pytest.raises(TrainingError, match="autodir-small"):
        encoder_of(Assessor(random_config.clip, ("noise", "clean")))
