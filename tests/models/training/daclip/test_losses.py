"""Training losses against the authors' numbers and against their definitions."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file

from models.daclip.conditional_unet import ConditionalUNet, UNetConfig
from models.daclip.irsde import IRSDE, diffuse, matching_loss, posterior_mean, score_from_noise, sde_mean
from models.training.daclip.contrastive import MAX_LOG_SCALE, Embeddings, clamp_temperature, contrastive_terms, info_nce

KEYS = "unet_small_keys.json"


@pytest.fixture(scope="module")
def vectors(shared):
    return lambda name: load_file(shared / "parity" / "daclip" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def unet_keys(shared):
    return json.loads((shared / "parity" / "daclip" / KEYS).read_text())


@pytest.fixture
def unet(unet_keys):
    """The small random U-Net of the vectors."""
    path = Path(__file__).parents[3] / "parity" / "weights.py"
    spec = importlib.util.spec_from_file_location("parity_weights", path)
    assert spec and spec.loader
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    network = ConditionalUNet(UNetConfig(width=32, multipliers=(1, 2, 2, 4), context_dim=48))
    state = {key: weights.daclip_tensor(key, tuple(shape)) for key, (shape, _) in unet_keys.items()}
    assert not network.load_state_dict(state, strict=False).missing_keys
    return network


def test_both_contrastive_terms_are_the_authors(vectors):
    v = vectors("a_daclip_small")
    said = Embeddings(
        content=v["fwd_image_features"],
        caption=v["fwd_text_features"],
        degradation=v["fwd_image_degra_features"],
        word=v["fwd_text_degra_features"],
    )
    terms = contrastive_terms(said, v["fwd_logit_scale"].log())
    assert_parity(terms.content, v["loss_contrastive_loss"])
    assert_parity(terms.degradation, v["loss_degra_loss"])
    assert_parity(terms.total, v["loss_contrastive_loss"] + v["loss_degra_loss"])


def test_the_matching_loss_is_the_authors_with_its_parts(vectors):
    v, sde = vectors("c_train"), IRSDE()
    at = sde.at(v["t"].flatten())
    assert_parity(diffuse(v["x0"], v["mu"], v["noise"], at), v["states"])
    score = score_from_noise(v["eps"], at)
    assert_parity(sde_mean(v["states"], v["mu"], score, at), v["pred"])
    assert_parity(posterior_mean(v["states"], v["mu"], v["x0"], at), v["opt"])
    loss = matching_loss(v["states"], v["x0"], v["mu"], v["eps"], at)
    assert_parity(loss, v["loss_l1"])


def test_a_training_steps_loss_and_gradients_are_the_authors(vectors, unet, unet_keys):
    v, sde = vectors("t_train_unet"), IRSDE()
    at = sde.at(v["t"].flatten())
    state = diffuse(v["x0"], v["mu"], v["noise"], at)
    eps = unet(state, v["mu"], at.time.flatten(), unet.prepare(v["image_context"], v["degra"]))
    assert_parity(eps, v["eps"])  # of values up to 5.7
    loss = matching_loss(state, v["x0"], v["mu"], eps, at)
    assert_parity(loss, v["loss"])
    loss.backward()
    gradients = {name: value.grad for name, value in unet.named_parameters()}
    for name in [key for key in v if key.startswith("grad.")]:
        expected = v[name]
        found = gradients[name.removeprefix("grad.")]
        assert_parity(found, expected, message=name)
    # Norms of all 224, in the authors' own order: as a sorted list, the dead ones with no gradient among them
    found = [g.norm() for g in gradients.values()] + [torch.zeros(())] * (len(unet_keys) - len(gradients))
    torch.testing.assert_close(torch.stack(found).sort().values, v["gradnorm"].sort().values, rtol=1e-4, atol=1e-7)


def test_one_step_of_each_picture_at_its_own_time_is_the_mean_of_single_losses(vectors):
    """The loss of a batch is what each picture's own loss says, so a step index never leaks to its neighbors."""
    v, sde = vectors("c_train"), IRSDE()
    t = v["t"].flatten()
    whole = matching_loss(v["states"], v["x0"], v["mu"], v["eps"], sde.at(t))
    parts = [
        matching_loss(*(v[name][i : i + 1] for name in ("states", "x0", "mu", "eps")), sde.at(t[i : i + 1]))
        for i in range(len(t))
    ]
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_the_true_noise_has_no_loss_left_but_the_discretisation():
    """In the limit of many steps Euler's mean with the true score is the posterior mean: the loss falls with T."""
    generator = torch.Generator().manual_seed(0)
    x0, mu, noise = (torch.rand(8, 3, 8, 8, generator=generator) for _ in range(3))
    from models.daclip.irsde import SDEConfig

    losses = []
    for steps in (50, 500, 5000):
        sde = IRSDE(SDEConfig(steps=steps))
        at = sde.at(torch.full((8,), steps // 2))
        losses.append(float(matching_loss(diffuse(x0, mu, noise, at), x0, mu, noise, at)))
    assert losses[1] < losses[0] / 30
    assert losses[2] < losses[1] / 5  # float32 ends here


def test_info_nce_of_equal_features_is_the_logarithm_of_the_batch():
    """Duplicates in a batch count as negatives: ln(784) = 6.66 is the plateau that users of the authors' code saw."""
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
    said = Embeddings(*(torch.eye(2) for _ in range(4)))
    clean = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    without, robust = (contrastive_terms(said, torch.tensor(0.0), other) for other in (None, clean))
    assert float(without.fidelity) == 0
    assert float(robust.fidelity) == pytest.approx(1.0)
    assert float(contrastive_terms(said, torch.tensor(0.0), clean, 0.25).total - without.total) == pytest.approx(0.25)


@pytest.mark.parametrize(("before", "after"), [(-1.0, 0.0), (2.0, 2.0), (9.0, MAX_LOG_SCALE)])
def test_the_temperature_is_clamped(before, after):
    scale = torch.nn.Parameter(torch.tensor(before))
    clamp_temperature(scale)
    assert float(scale.detach()) == pytest.approx(after)
    assert scale.requires_grad
