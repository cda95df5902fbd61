"""Samplers against the published trajectories, the papers' formulas and a problem whose exact solution is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.guidance import guided
from models.autodir.latents import KLConfig
from models.autodir.samplers import (
    SAMPLERS,
    NoiseSchedule,
    StepCoefficients,
    advance,
    ddim,
    denoised_from,
    dpm_solver_2m,
    euler_ancestral,
    plan,
)
from models.noise import NoiseStream

SCHEDULE = NoiseSchedule()
SHAPE = (4, 16, 24)


@pytest.fixture(scope="module")
def published(parity):
    return load_file(parity / "sampler.safetensors")


@pytest.fixture(scope="module")
def tiny_unet(checkpoint):
    """The U-Net that made the trajectories, in diffusers' layout by diffusers' own converter."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    prefix = "model.diffusion_model."
    tensors = {prefix + name: value for name, value in checkpoint(prefix).items()}
    channels = (32, 64, 128, 128)
    air = AIR(AIRConfig(unet=UNetConfig(block_channels=channels), codec=KLConfig(block_channels=channels)))
    air.unet.load_state_dict(convert_ldm_unet_checkpoint(tensors, {"layers_per_block": 2}), strict=True)
    return air.eval().predict


def off(ours, theirs):
    """The relative error in the Euclidean norm."""
    return float((ours - theirs).norm() / theirs.norm())


def run(way, network, x, noises=None):
    """Every state of one image on its own; `network(scaled, step)` is the denoised latent."""
    states, earlier = [x], torch.zeros_like(x)
    for i, step in enumerate(way.steps):
        at = StepCoefficients.stack([step])
        denoised = network(at.input_scale * x, step)
        x = advance(x, denoised, earlier, torch.zeros_like(x) if noises is None else noises[i], at)
        earlier = denoised
        states.append(x)
    return states


# --- the schedule


def test_the_schedule_is_the_published_one(published):
    assert torch.equal(SCHEDULE.alphas_cumprod, published["alphas_cumprod"])


@pytest.mark.parametrize("steps", [4, 20, 50, 100, 200])
def test_the_sigmas_are_the_published_ones(published, steps):
    theirs = published[f"sigmas{steps}"]
    ours = torch.tensor([SCHEDULE.sigma(t) for t in np.linspace(999, 0, steps)])
    torch.testing.assert_close(ours, theirs[:-1], atol=0, rtol=1e-5)
    assert theirs[-1] == 0
    assert euler_ancestral(SCHEDULE, steps).initial_scale == pytest.approx(float(theirs[0]), rel=1e-5)


def test_the_timesteps_that_the_network_sees_are_the_published_ones(published):
    ours = torch.tensor([step.timestep for step in euler_ancestral(SCHEDULE, 10).steps])
    torch.testing.assert_close(ours, published["timesteps"].to(ours), atol=1e-3, rtol=1e-6)


def test_sigma_and_timestep_are_inverse_and_the_schedule_s_ends_hold():
    for t in (0, 0.5, 17.25, 500, 998.9, 999):
        assert SCHEDULE.timestep(SCHEDULE.sigma(t)) == pytest.approx(t, abs=1e-6)
    assert SCHEDULE.timestep(1e3) == 999 and SCHEDULE.timestep(1e-6) == 0
    # facts of Stable Diffusion's schedule: sigma from 14.6146 to 0.0292
    assert SCHEDULE.sigma(999) == pytest.approx(14.6146, abs=1e-3)
    assert SCHEDULE.sigma(0) == pytest.approx(0.0292, abs=1e-4)


# --- the published trajectories


@pytest.mark.parametrize(("name", "scale"), [("1_1", (1.0, 1.0)), ("7.5_1.5", (7.5, 1.5)), ("3_1", (3.0, 1.0))])
def test_euler_ancestral_follows_the_published_trajectory(published, tiny_unet, name, scale):
    way, x = euler_ancestral(SCHEDULE, 10), published["z_init"]
    assert off(x, published[f"cfg{name}.x"][0]) < 1e-6
    for i, step in enumerate(way.steps):
        at = StepCoefficients.stack([step])
        assert off(x, published[f"cfg{name}.x"][i]) < 1e-4
        with torch.inference_mode():
            scaled, null = at.input_scale * x, published["uncond"][0]
            eps = guided(
                tiny_unet, scaled, published["z_I"], at.timestep, published["cond"], lambda null=null: null, [scale]
            )
        denoised = denoised_from("epsilon", scaled, eps, at)
        assert off(denoised, published[f"cfg{name}.denoised"][i]) < 1e-4
        drawn = published["noises"][i] if i < 9 else torch.zeros_like(x)
        x = advance(x, denoised, denoised, drawn, at)
    assert off(x, published[f"cfg{name}.final"]) < 1e-4


# --- formulas


def test_ddim_s_coefficients_are_the_paper_s():
    """Song et al. 2021, Eq. 12, eta 0: x' = sqrt(a') x0 + sqrt(1 - a') eps; eps = (x - sqrt(a) x0) / sqrt(1 - a)."""
    steps = ddim(SCHEDULE, 7).steps
    for i, step in enumerate(steps):
        a = 1 / (1 + SCHEDULE.sigma(999 * (1 - i / 7)) ** 2)
        after = 1 / (1 + SCHEDULE.sigma(999 * (1 - (i + 1) / 7)) ** 2) if i < 6 else 1.0
        x, x0 = 0.7, -0.3
        eps = (x - math.sqrt(a) * x0) / math.sqrt(1 - a)
        expected = math.sqrt(after) * x0 + math.sqrt(1 - after) * eps
        assert step.keep * x + step.clean * x0 == pytest.approx(expected, abs=1e-12)
        assert (step.earlier, step.spread, step.input_scale) == (0, 0, 1)


def test_dpm_solver_s_coefficients_are_the_paper_s():
    """Lu et al. 2022, Algorithm 2: D = (1 + 1/2r) x0 - (1/2r) x0_before; x' = s'/s x - alpha' (e^-h - 1) D."""
    steps = dpm_solver_2m(SCHEDULE, 7).steps
    half_snr = [math.log(step.alpha / step.sigma) for step in steps]
    for i in range(1, 6):
        h, before = half_snr[i + 1] - half_snr[i], half_snr[i] - half_snr[i - 1]
        ratio = before / h
        x, x0, x0_before = 0.7, -0.3, 0.4
        extrapolated = (1 + 1 / (2 * ratio)) * x0 - 1 / (2 * ratio) * x0_before
        expected = steps[i + 1].sigma / steps[i].sigma * x - steps[i + 1].alpha * math.expm1(-h) * extrapolated
        step = steps[i]
        assert step.keep * x + step.clean * x0 + step.earlier * x0_before == pytest.approx(expected, abs=1e-12)
    assert steps[0].earlier == steps[-1].earlier == 0


def test_euler_ancestral_keeps_the_planned_noise_level():
    """With the exact noise in x, the kept part and the fresh part add up to the next sigma, in variance."""
    steps = euler_ancestral(SCHEDULE, 12).steps
    for step, after in zip(steps, [*(1 / s.input_scale**2 - 1 for s in steps[1:]), 0.0], strict=True):
        sigma = math.sqrt(1 / step.input_scale**2 - 1)
        assert (step.keep * sigma) ** 2 + step.spread**2 == pytest.approx(after, abs=1e-9)
        assert step.keep + step.clean == pytest.approx(1)
    assert steps[-1].keep == 0 and steps[-1].spread == 0


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_every_plan_falls_from_the_noisiest_step_to_a_clean_latent(sampler, steps):
    way = plan(sampler, SCHEDULE, steps)
    assert len(way) == steps
    assert way[0].timestep == pytest.approx(999)
    timesteps = [step.timestep for step in way.steps]
    assert timesteps == sorted(timesteps, reverse=True)
    for step in way.steps:
        assert step.alpha**2 + step.sigma**2 == pytest.approx(1)
    last = way[steps - 1]
    assert (last.keep, last.clean, last.earlier, last.spread) == (0, 1, 0, 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_a_perfect_network_leads_to_the_exact_clean_latent(sampler, steps):
    """Deterministic samplers also stay on the straight line alpha x0 + sigma eps between."""
    clean, eps = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(0)).unbind()
    way = plan(sampler, SCHEDULE, steps)
    start = (way[0].alpha * clean + way[0].sigma * eps) / way[0].input_scale
    states = run(way, lambda scaled, step: clean, start, torch.randn(steps, 1, *SHAPE))
    torch.testing.assert_close(states[-1], clean, atol=1e-5, rtol=0)
    if sampler != "euler-ancestral":
        for state, step in zip(states, way.steps, strict=False):
            torch.testing.assert_close(state, step.alpha * clean + step.sigma * eps, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_eps_and_v_of_a_known_image_give_that_image_back(sampler):
    """x = alpha x0 + sigma eps and v = alpha eps - sigma x0 (Salimans & Ho 2022)."""
    clean, eps = torch.randn(2, 1, *SHAPE, generator=torch.Generator().manual_seed(1)).unbind()
    for step in plan(sampler, SCHEDULE, 5).steps:
        at = StepCoefficients.stack([step])
        scaled = at.alpha * clean + at.sigma * eps
        v = at.alpha * eps - at.sigma * clean
        # eps is divided by alpha, 0.07 at the noisiest step
        torch.testing.assert_close(denoised_from("epsilon", scaled, eps, at), clean, atol=1e-4, rtol=0)
        torch.testing.assert_close(denoised_from("v_prediction", scaled, v, at), clean, atol=1e-5, rtol=0)


# --- a problem with a known solution: clean latents are normal with MEAN and DEVIATION

MEAN, DEVIATION = 0.4, 0.6


def posterior_mean(scaled, step):
    """E[clean | alpha clean + sigma eps] for normal data: the network that training would find."""
    variance = step.alpha**2 * DEVIATION**2 + step.sigma**2
    return MEAN + step.alpha * DEVIATION**2 / variance * (scaled - step.alpha * MEAN)


def exact(start, begin, end):
    """The probability flow's solution: the standardized state never changes (end is (alpha, sigma))."""
    first = math.sqrt(begin.alpha**2 * DEVIATION**2 + begin.sigma**2)
    last = math.sqrt(end[0] ** 2 * DEVIATION**2 + end[1] ** 2)
    return end[0] * MEAN + last * (start - begin.alpha * MEAN) / first


def halfway_error(sampler, steps):
    """Half of the timesteps done, so that every step count is asked for the same moment."""
    start = torch.tensor([-1.5, -0.5, 0.2, 1.0], dtype=torch.float64)[None, :, None, None]
    way = plan(sampler, SCHEDULE, steps)
    middle = way[steps // 2]
    state = run(way, posterior_mean, start)[steps // 2]
    return float((state - exact(start, way[0], (middle.alpha, middle.sigma))).abs().max())


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpm++2m", 2)])
def test_the_order_of_convergence_is_the_paper_s(sampler, order):
    errors = [halfway_error(sampler, steps) for steps in (32, 64, 128)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"])
def test_deterministic_samplers_end_at_the_probability_flow_s_solution(sampler):
    start = torch.tensor([-1.5, -0.5, 0.2, 1.0], dtype=torch.float64)[None, :, None, None]

    def error(steps):
        way = plan(sampler, SCHEDULE, steps)
        return float((run(way, posterior_mean, start)[-1] - exact(start, way[0], (1.0, 0.0))).abs().max())

    # The step to sigma 0 is of first order: at t = 1 its error is about sigma^2 / (2 DEVIATION) * 1.5 = 2e-3
    assert error(1000) < 5e-3
    assert error(100) < error(10) / 4


def test_euler_ancestral_draws_from_the_data_s_distribution():
    """200 steps: mean and deviation of 40,000 samples; the tolerance covers the discretization, not only chance."""
    way, generator = euler_ancestral(SCHEDULE, 200), torch.Generator().manual_seed(3)
    x = way.initial_scale * torch.randn(1, 1, 200, 200, generator=generator)
    noises = torch.randn(200, 1, 1, 200, 200, generator=generator)
    final = run(way, posterior_mean, x, noises)[-1]
    assert float(final.mean()) == pytest.approx(MEAN, abs=0.02)
    assert float(final.std()) == pytest.approx(DEVIATION, abs=0.02)


# --- batches


def alone(network, name, steps, seed, condition):
    """Samples one image alone, with its own noise."""
    way, stream = plan(name, SCHEDULE, steps), NoiseStream(seed)
    x = way.initial_scale * stream.draw(SHAPE)[None]
    noises = torch.stack([stream.draw(SHAPE)[None] for _ in range(steps)])
    return run(way, lambda scaled, step: network(scaled, [step], condition[None]), x, noises)[-1]


def test_images_at_different_steps_of_different_plans_do_not_change_each_other(tiny_unet, published):
    def network(scaled, steps, conditions):
        at = StepCoefficients.stack(steps)
        context = published["cond"].expand(len(steps), -1, -1)
        with torch.inference_mode():
            return denoised_from("epsilon", scaled, tiny_unet(scaled, conditions, at.timestep, context), at)

    plans = [("euler-ancestral", 5, 1), ("dpm++2m", 4, 2), ("ddim", 2, 3)]  # sampler, steps, seed
    joins = [0, 1, 2]  # the round in which the image joins; the second leaves last
    conditions = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(4))
    ways, streams = [plan(name, SCHEDULE, n) for name, n, _ in plans], [NoiseStream(seed) for *_, seed in plans]
    x = [way.initial_scale * stream.draw(SHAPE) for way, stream in zip(ways, streams, strict=True)]
    earlier = [torch.zeros(SHAPE) for _ in plans]
    for turn in range(5):
        here = [i for i in range(3) if 0 <= turn - joins[i] < len(ways[i])]
        rows = [ways[i][turn - joins[i]] for i in here]
        at, state = StepCoefficients.stack(rows), torch.stack([x[i] for i in here])
        denoised = network(at.input_scale * state, rows, conditions[here])
        fresh = torch.stack([streams[i].draw(SHAPE) for i in here])
        moved = advance(state, denoised, torch.stack([earlier[i] for i in here]), fresh, at)
        for place, i in enumerate(here):
            x[i], earlier[i] = moved[place], denoised[place]
    for i, (name, steps, seed) in enumerate(plans):
        assert off(x[i][None], alone(network, name, steps, seed, conditions[i])) < 1e-5


def test_stacked_rows_keep_their_order_and_fit_a_batch_of_latents():
    rows = [euler_ancestral(SCHEDULE, 3)[1], ddim(SCHEDULE, 4)[2]]
    at = StepCoefficients.stack(rows)
    assert at.timestep.shape == (2,)
    assert at.keep.shape == at.sigma.shape == (2, 1, 1, 1)
    assert at.keep.flatten().tolist() == pytest.approx([row.keep for row in rows])
    assert at.timestep.tolist() == pytest.approx([row.timestep for row in rows])


def test_an_unknown_sampler_and_a_plan_without_steps_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"got sampler 'heun', expected one of euler-ancestral, ddim, dpm\+\+2m"):
        plan("heun", SCHEDULE, 4)
    with pytest.raises(ValueError, match="got 0 steps, expected at least 1"):
        plan("ddim", SCHEDULE, 0)
