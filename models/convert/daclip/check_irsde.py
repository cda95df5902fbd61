"""Checks IR-SDE's schedules, steps and trajectories against the vectors.

The tolerance of schedules is 1e-6.  The weights of the posterior mean are quotients of differences near zero: a
rounding error in the last place of one exponential changes a weight by 1.5e-5 (linear, t = 2), so their tolerance is
2e-5.

Shapes:  B images, C channels, H W pixels, T steps.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from models.convert.verdicts import Pair, Row, Vectors, compare_pairs
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.irsde import (
    IRSDE,
    Coefficients,
    Schedule,
    SDEConfig,
    clean_from_noise,
    diffuse,
    forward_step,
    marginal_mean,
    matching_loss,
    ode_step,
    posterior_mean,
    posterior_step,
    posterior_weights,
    schedule_of,
    score_from_noise,
    sde_mean,
    sde_step,
    true_noise,
)
from models.errors import BundleError
from models.pixels import to_pixels

NAMES: dict[str, Schedule] = {"cos": "cosine", "lin": "linear", "const": "constant"}
Step = Callable[[Tensor, Tensor, Tensor, Tensor, Coefficients], Tensor]
"""(x, mu, eps, z, at) -> the next x."""

STEPS: dict[str, Step] = {
    "posterior": posterior_step,
    "sde": lambda x, mu, eps, z, at: sde_step(x, mu, score_from_noise(eps, at), z, at),
    "ode": lambda x, mu, eps, z, at: ode_step(x, mu, score_from_noise(eps, at), at),
}


def check_schedules(model: object, vectors: Vectors, path: Path) -> Iterator[Row]:
    """Compare schedules, which are named like cos, lin, const, cos_s25 (sample_T) or cos_T20 (T)."""
    for prefix in sorted({key.split(".")[0] for key in vectors}):
        recorded = {
            key.removeprefix(f"{prefix}."): value for key, value in vectors.items() if key.startswith(f"{prefix}.")
        }
        sde = _named_schedule(prefix, recorded)
        at = sde.at(torch.arange(1, sde.T + 1))
        weights = posterior_weights(at)
        tables = {
            "thetas": sde.thetas, "sigmas": sde.sigmas, "thetas_cumsum": sde.thetas_cumsum,
            "sigma_bars": sde.sigma_bars, "dt": sde.dt, "post_std": at.posterior_std.flatten(),
        }  # fmt: skip
        pairs = [(value, recorded[name]) for name, value in tables.items() if name in recorded]
        yield compare_pairs(f"c_schedules {prefix}", 1e-6, pairs)
        quotients = {"post_c1": weights.from_state.flatten(), "post_c2": weights.from_clean.flatten()}
        pairs = [(value, recorded[name]) for name, value in quotients.items() if name in recorded]
        if pairs:
            yield compare_pairs(f"c_schedules {prefix} posterior", 2e-5, pairs)


def _named_schedule(prefix: str, recorded: dict[str, Tensor]) -> IRSDE:
    found = re.fullmatch(r"(cos|lin|const)(?:_s(\d+))?(?:_T(\d+))?", prefix)
    if found is None:
        raise BundleError(f"c_schedules has {prefix!r}, expected names like cos, lin, const, cos_s25 or cos_T20.")
    # The file has no eps.  It is the remaining share of the drift at step T, and a round number
    eps = round(math.exp(-float(recorded["dt"] * recorded["thetas_cumsum"][-1])), 5)
    return schedule_of(
        SDEConfig(
            max_sigma=float(recorded["max_sigma"]),
            schedule=NAMES[found[1]],
            steps=int(found[3] or 100),
            eps=eps,
            sample_steps=int(found[2]) if found[2] else None,
        )
    )


def check_steps(model: object, vectors: Vectors, path: Path) -> Iterator[Row]:
    """Compare single steps: noise 0 of the file gives x_t, noise 1 the steps, and the score replaces a network."""
    sde, mu, x0, z = schedule_of(SDEConfig()), vectors["mu"], vectors["x0"], vectors["noises"][1]
    for t in sorted(int(key.removeprefix("xt_t")) for key in vectors if key.startswith("xt_t")):
        at = sde.at(torch.tensor([t]))
        x, score = vectors[f"xt_t{t}"], vectors[f"score_t{t}"]
        eps, noise = -score * at.sigma_bar, vectors["noises"][0]
        found = {
            "mean": marginal_mean(x0, mu, at),
            "std": at.sigma_bar.reshape(()),
            "xt": diffuse(x0, mu, noise, at),
            "real_noise": true_noise(x, x0, mu, at),
            "real_score": score_from_noise(true_noise(x, x0, mu, at), at),
            "fwd_step": forward_step(x, mu, z, at),
            "rev_sde_mean": sde_mean(x, mu, score, at),
            "rev_sde": sde_step(x, mu, score, z, at),
            "rev_ode": ode_step(x, mu, score, at),
            "opt_step": posterior_mean(x, mu, x0, at),
            "posterior": posterior_step(x, mu, eps, z, at),
        }
        pairs: list[Pair] = [
            (value, vectors[f"{name}_t{t}"]) for name, value in found.items() if f"{name}_t{t}" in vectors
        ]
        yield compare_pairs(f"c_steps t {t}", 1e-6, pairs, "of range")
        if f"x0_from_noise_t{t}" in vectors:  # 1 / decay amplifies the rounding of x
            rounding = 1e-6 + 2e-7 / float(at.decay)
            clean = clean_from_noise(x, mu, noise, at)
            yield compare_pairs(f"c_steps t {t} x0_from_noise", rounding, [(clean, vectors[f"x0_from_noise_t{t}"])])


def check_loss(model: object, vectors: Vectors, path: Path) -> Iterator[Row]:
    at = schedule_of(SDEConfig()).at(vectors["t"].flatten())
    states = diffuse(vectors["x0"], vectors["mu"], vectors["noise"], at)
    yield compare_pairs("c_train states", 1e-6, [(states, vectors["states"])])
    found = matching_loss(vectors["states"], vectors["x0"], vectors["mu"], vectors["eps"], at)
    yield compare_pairs("c_train loss_l1", 1e-6, [(found, vectors["loss_l1"])])


def check_toy_trajectories(model: object, vectors: Vectors, path: Path) -> Iterator[Row]:
    """Compare all states of trajectories whose network is a formula."""
    mu = vectors["mu"]
    x0 = 0.5 + 0.4 * torch.sin(5 * mu)

    def eps(x: Tensor, at: Coefficients) -> Tensor:
        exact = (x - mu - at.decay * (x0 - mu)) / at.sigma_bar
        return exact.add(torch.sin(0.07 * at.time + 3 * x), alpha=0.05)

    for kind in sorted(key.removesuffix("_final") for key in vectors if key.endswith("_final")):
        yield compare_pairs(f"c_traj_toy {kind}", 3e-6, _trajectory(kind, vectors, eps), "of range")


def check_trajectories(model: ConditionalUNet, vectors: Vectors, path: Path) -> Iterator[Row]:
    """Compare trajectories with the exact noise for x0 = mu plus a tenth of the U-Net's, which alone diverges."""
    constants, mu = model.prepare(vectors["image_context"], vectors["degra"]), vectors["mu"]

    def eps(x: Tensor, at: Coefficients) -> Tensor:
        output: Tensor = model(x, mu, at.time.flatten(), constants)
        return (x - mu) / at.sigma_bar + 0.1 * output

    for kind in sorted(key.removesuffix("_final") for key in vectors if key.endswith("_final")):
        pairs = _trajectory(kind, vectors, eps)
        yield compare_pairs(f"c_traj_unet {kind}", 1e-4, pairs)
        if f"{kind}_uint8" in vectors:
            pixels = (
                torch.from_numpy(to_pixels(pairs[-1][0][0] * 2 - 1)).flip(-1).int()
            )  # the vectors are in OpenCV's order, BGR
            yield compare_pairs(f"c_traj_unet {kind} uint8", 1, [(pixels, vectors[f"{kind}_uint8"].int())])


def _trajectory(kind: str, vectors: Vectors, eps: Callable[[Tensor, Coefficients], Tensor]) -> list[Pair]:
    """Compute a trajectory from the recorded noises; returns its recorded states, then its last."""
    name = re.fullmatch(r"(posterior|sde|ode)(\d*)", kind)
    if name is None:
        raise BundleError(f"the vectors have a trajectory {kind!r}, expected posterior, sde or ode.")
    sde = schedule_of(SDEConfig(), int(name[2]) if name[2] else None)
    recorded, x, mu, pairs = vectors[f"{kind}_states"], vectors["xT"], vectors["mu"], []
    every = sde.T // len(recorded)
    for index, t in enumerate(range(sde.T, 0, -1)):
        at = sde.at(torch.tensor([t]))
        x = STEPS[name[1]](x, mu, eps(x, at), vectors["noises"][index + 1], at)
        if index % every == 0:
            pairs.append((x, recorded[index // every]))
    return [*pairs, (x, vectors[f"{kind}_final"])]


SCHEDULE_CHECKS = {
    "c_schedules": check_schedules,
    "c_steps": check_steps,
    "c_train": check_loss,
    "c_traj_toy": check_toy_trajectories,
}
