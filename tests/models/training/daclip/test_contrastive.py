"""DA-CLIP's training loss against the authors' numbers and against its definition."""

import math

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file

from models.training.daclip.contrastive import (
    MAX_LOG_SCALE,
    Embeddings,
    clamp_temperature,
    contrastive_terms,
    info_nce,
)


def test_both_terms_equal_those_of_the_authors(shared):
    v = load_file(shared / "parity" / "daclip" / "a_daclip_small.safetensors")
    embeddings = Embeddings(
        content=v["fwd_image_features"],
        caption=v["fwd_text_features"],
        degradation=v["fwd_image_degra_features"],
        word=v["fwd_text_degra_features"],
    )
    terms = contrastive_terms(embeddings, v["fwd_logit_scale"].log())
    assert_parity(terms.content, v["loss_contrastive_loss"])
    assert_parity(terms.degradation, v["loss_degra_loss"])
    assert_parity(terms.total, v["loss_contrastive_loss"] + v["loss_degra_loss"])


def test_info_nce_of_equal_features_is_the_logarithm_of_the_batch():
    """Duplicates in a batch count as negatives: ln(784) = 6.66 is the plateau of the published program."""
    same = torch.ones(784, 4) / 2
    assert info_nce(same, same, torch.tensor(1.0)) == pytest.approx(math.log(784), abs=1e-4)


def test_info_nce_is_its_definition_in_plain_loops():
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.nn.functional.normalize(torch.randn(3, 5, generator=generator), dim=-1) for _ in range(2))
    scale = 7.0
    total = 0.0
    for i in range(3):
        forward = [math.exp(scale * float(a[i] @ b[j])) for j in range(3)]
        backward = [math.exp(scale * float(a[j] @ b[i])) for j in range(3)]
        total -= (math.log(forward[i] / sum(forward)) + math.log(backward[i] / sum(backward))) / 6
    assert float(info_nce(a, b, torch.tensor(math.log(scale)))) == pytest.approx(total, abs=1e-5)


def test_the_robust_term_is_the_mean_distance_to_the_clean_embedding():
    embeddings = Embeddings(*(torch.eye(2) for _ in range(4)))
    clean = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    without, robust = (contrastive_terms(embeddings, torch.tensor(0.0), other) for other in (None, clean))
    assert float(without.fidelity) == 0
    assert float(robust.fidelity) == pytest.approx(1.0)
    assert float(contrastive_terms(embeddings, torch.tensor(0.0), clean, 0.25).total - without.total) == pytest.approx(
        0.25
    )


@pytest.mark.parametrize(("before", "after"), [(-1.0, 0.0), (2.0, 2.0), (9.0, MAX_LOG_SCALE)])
def test_the_temperature_is_clamped(before, after):
    scale = torch.nn.Parameter(torch.tensor(before))
    clamp_temperature(scale)
    assert float(scale.detach()) == pytest.approx(after)
    assert scale.requires_grad
