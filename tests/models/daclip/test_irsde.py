"""IR-SDE against its own mathematics: what holds for any schedule, whatever the code."""

import math

import pytest
import torch
from parity_check import assert_parity

from models.daclip.irsde import (
    IRSDE,
    Coefficients,
    SDEConfig,
    clean_from_noise,
    diffuse,
    forward_step,
    initial_state,
    matching_loss,
    ode_step,
    posterior_mean,
    posterior_step,
    posterior_weights,
    score_from_noise,
    sde_mean,
)

SCHEDULES = [
    SDEConfig(),
    SDEConfig(schedule="linear"),
    SDEConfig(schedule="constant", steps=30),
    SDEConfig(sample_steps=10),
    SDEConfig(steps=20, max_sigma=0.3, eps=0.01),
]


@pytest.fixture
def pictures():
    draw = torch.Generator().manual_seed(0)
    x0, mu, z = (torch.rand(4, 3, 8, 8, generator=draw) for _ in range(3))
    return x0, mu, z


def test_the_published_values():
    """Of the cosine schedule, as stated in the facts of the released code."""
    sde = IRSDE()
    assert float(sde.dt) == pytest.approx(0.1040938, abs=1e-7)
    assert [float(sde.thetas[t]) for t in (1, 100)] == pytest.approx([0.00169456, 0.9997666], abs=1e-7)
    assert [float(sde.sigma_bars[t]) for t in (1, 100)] == pytest.approx([0.003682624, 0.196076], abs=1e-6)
    std = sde.at(torch.tensor([1, 2, 100])).posterior_std.flatten().tolist()
    assert std == pytest.approx([6.3e-12, 0.0029843, 0.084996], rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("config", SCHEDULES, ids=str)
def test_the_far_end_is_the_degraded_picture_with_noise_of_the_stated_level(config):
    sde = IRSDE(config)
    at = sde.at(torch.tensor([sde.T]))
    assert float(at.decay) == pytest.approx(config.eps, rel=1e-4)
    assert float(at.sigma_bar) == pytest.approx(sde.max_sigma * math.sqrt(1 - config.eps**2), rel=1e-5)
    assert float(at.time) == config.steps  # the network is told the steps that it was trained on


@pytest.mark.parametrize("config", SCHEDULES, ids=str)
def test_the_last_posterior_step_lands_on_the_clean_picture(config, pictures):
    x0, mu, z = pictures
    at = IRSDE(config).at(torch.ones(4, dtype=torch.int64))
    x = diffuse(x0, mu, z, at)
    torch.testing.assert_close(posterior_step(x, mu, z, z, at), x0, atol=2e-6, rtol=0)


@pytest.mark.parametrize("config", SCHEDULES, ids=str)
def test_posterior_and_marginal_agree_by_bayes(config, pictures):
    """The posterior's mean over x_t is the marginal's mean one step earlier, and the variances add up."""
    x0, mu, _ = pictures
    sde = IRSDE(config)
    t = torch.tensor([2, 3, sde.T // 2, sde.T])
    at, earlier = sde.at(t), sde.at(t - 1)
    expected_state = mu + (x0 - mu) * at.decay
    mean = posterior_mean(expected_state, mu, x0, at)
    # At small t the weights are quotients of differences near zero: float32 leaves four digits of them
    torch.testing.assert_close(mean, mu + (x0 - mu) * earlier.decay, atol=2e-4, rtol=0)
    weights = posterior_weights(at)
    variance = (weights.from_state * at.sigma_bar) ** 2 + at.posterior_std**2
    torch.testing.assert_close(variance, earlier.sigma_bar**2, atol=1e-6, rtol=1e-3)


def test_the_clean_image_is_computed_from_its_noise(pictures):
    x0, mu, z = pictures
    at = IRSDE().at(torch.tensor([1, 10, 50, 80]))
    torch.testing.assert_close(clean_from_noise(diffuse(x0, mu, z, at), mu, z, at), x0, atol=2e-5, rtol=0)


def test_each_image_of_a_batch_has_its_own_step(pictures):
    x0, mu, z = pictures
    sde, t = IRSDE(), torch.tensor([1, 17, 60, 100])
    together = posterior_step(x0, mu, z, z, sde.at(t))
    alone = [posterior_step(x0[[i]], mu[[i]], z[[i]], z[[i]], sde.at(t[[i]])) for i in range(4)]
    assert_parity(together, torch.cat(alone))
    stacked = Coefficients.stack([sde.at(t[[i]]) for i in range(4)])
    assert_parity(together, posterior_step(x0, mu, z, z, stacked))


def test_the_reverse_steps_without_noise_undo_the_forward_drift(pictures):
    """With the score of a point mass they differ by what the SDE's noise would add, half of it for the ODE."""
    x0, mu, _ = pictures
    at = IRSDE().at(torch.tensor([5, 20, 50, 90]))
    still = torch.zeros_like(x0)
    drift = forward_step(x0, mu, still, at) - x0
    torch.testing.assert_close(x0 - sde_mean(x0, mu, still, at), drift)
    torch.testing.assert_close(x0 - ode_step(x0, mu, still, at), drift)
    score = torch.ones_like(x0)
    by_sde, by_ode = (step(x0, mu, score, at) - step(x0, mu, still, at) for step in (sde_mean, ode_step))
    torch.testing.assert_close(by_sde, 2 * by_ode)


def test_a_perfect_network_walks_back_to_the_clean_picture():
    """With the exact noise every sampler ends at x0, the posterior exactly."""
    draw = torch.Generator().manual_seed(3)
    x0, mu = torch.rand(2, 1, 3, 8, 8, generator=draw)
    sde = IRSDE()
    x = initial_state(mu, torch.randn(mu.shape, generator=draw), sde.max_sigma)
    for t in range(100, 0, -1):
        at = sde.at(torch.tensor([t]))
        eps = (x - mu - (x0 - mu) * at.decay) / at.sigma_bar
        x = posterior_step(x, mu, eps, torch.randn(mu.shape, generator=draw), at)
    torch.testing.assert_close(x, x0, atol=1e-5, rtol=0)


def test_the_loss_is_small_for_the_true_noise_and_the_gradient_points_to_it(pictures):
    x0, mu, z = pictures
    at = IRSDE().at(torch.tensor([10, 30, 60, 90]))
    x = diffuse(x0, mu, z, at)
    wrong = (z + 0.5).requires_grad_()
    loss = matching_loss(x, x0, mu, wrong, at)
    assert loss > matching_loss(x, x0, mu, z, at)
    loss.backward()
    assert matching_loss(x, x0, mu, wrong.detach() - 10 * wrong.grad, at) < loss


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"sample_steps": 0}, {"schedule": "cubic"}])
def test_an_invalid_schedule_is_an_error(wrong):
    with pytest.raises(ValueError, match="expected"):
        IRSDE(SDEConfig(**wrong))


def test_a_noise_level_of_at_least_1_is_divided_by_255():
    assert IRSDE(SDEConfig(max_sigma=51)).max_sigma == pytest.approx(0.2)
    assert IRSDE(SDEConfig(max_sigma=0.2)).max_sigma == 0.2


def test_the_score_is_the_gradient_of_the_log_density(pictures):
    x0, mu, z = pictures
    at = IRSDE().at(torch.tensor([10, 30, 60, 90]))
    x = diffuse(x0, mu, z, at).requires_grad_()
    mean = mu + (x0 - mu) * at.decay
    (-((x - mean) ** 2) / (2 * at.sigma_bar**2)).sum().backward()
    torch.testing.assert_close(score_from_noise(z, at), x.grad, rtol=1e-3, atol=1e-3)
