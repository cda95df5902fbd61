"""Checks the single networks and the sampler's trajectories against the vectors.

Shapes:  B images, C channels, h w latent pixels, H W pixels, K prompts, L D text tokens and width.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.autodir.assessor import center_crop, mixture, prompt_of
from models.autodir.guidance import guided
from models.autodir.restorer import AutoDIR
from models.autodir.samplers import StepCoefficients, advance, denoised_from, euler_ancestral
from models.convert.verdicts import Check, Row, Vectors, compare_pairs, prefixes_of
from models.networks.clip import text_states, tokenize
from models.pixels import to_tensor


def scm(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    """Values reach 19, and even float64 arithmetic differs from the vectors by 1.3e-5, so the tolerance is of range."""
    for prefix in prefixes_of(vectors, "result"):
        computed = model.scm(vectors[f"{prefix}degraded"], vectors[f"{prefix}air"], 1.0)
        yield compare_pairs(f"scm {prefix}result", 1e-5, [(computed, vectors[f"{prefix}result"])], "of range")


def unet(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    for prefix in prefixes_of(vectors, "eps"):
        z_t, z_image, t, context = (vectors[f"{prefix}{name}"] for name in ("z_t", "z_I", "t", "context"))
        yield compare_pairs(
            f"unet {prefix}eps", 3e-5, [(model.air.predict(z_t, z_image, t, context), vectors[f"{prefix}eps"])]
        )


def vae(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    if "x" in vectors:
        mode = model.air.encode(vectors["x"])
        yield compare_pairs("vae mode", 1e-5, [(mode, vectors["mode"])], "of range")
    if "z" in vectors:
        decoded = model.air.decode(vectors["z"])
        yield compare_pairs("vae decoded", 1e-5, [(decoded, vectors["decoded"])], "of range")


def clip(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    assessor = model.assessor
    states = partial(text_states, assessor.clip)
    hidden = assessor.prompts()[0]  # (K, L, D)
    if "prompt_ids" in vectors:
        prompts = [prompt_of(name) for name in assessor.names]
        ids = tokenize(prompts, assessor.config.text.context_length)
        yield compare_pairs("clip prompt_ids", 0, [(ids, vectors["prompt_ids"])], "differ")
    texts = {
        "text_hidden": hidden,
        "null_hidden_masked": states(vectors["null_ids"], True)[0] if "null_hidden_masked" in vectors else None,
        "null_hidden_nomask": states(vectors["null_ids"], False)[0] if "null_hidden_nomask" in vectors else None,
        "user_hidden_nomask": states(vectors["user_ids"], False)[0] if "user_hidden_nomask" in vectors else None,
    }
    for name, computed in texts.items():
        if computed is not None and name in vectors:
            yield compare_pairs(f"clip {name}", 2e-5, [(computed, vectors[name])])
    for prefix in prefixes_of(vectors, "image_u8"):
        crop = center_crop(to_tensor(vectors[f"{prefix}image_u8"].numpy()), assessor.config.vision.image_size)
        logits = assessor.logits(assessor.image_features(crop[None]))  # (1, K)
        probabilities = logits.softmax(dim=-1)
        yield compare_pairs(f"clip {prefix}logits", 2e-5, [(logits.T, vectors[f"{prefix}logits_per_text"])])
        yield compare_pairs(f"clip {prefix}probs", 1e-5, [(probabilities, vectors[f"{prefix}probs"])])
        yield compare_pairs(
            f"clip {prefix}e_auto", 2e-5, [(mixture(probabilities[0], hidden)[None], vectors[f"{prefix}e_auto"])]
        )


def sampler(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    schedule = model.schedule
    if "alphas_cumprod" in vectors:
        yield compare_pairs("sampler alphas_cumprod", 1e-5, [(schedule.alphas_cumprod, vectors["alphas_cumprod"])])
    for name in sorted(key for key in vectors if re.fullmatch(r"sigmas\d*", key)):
        expected = vectors[name]
        ours = [schedule.sigma(t) for t in np.linspace(schedule.last, 0, len(expected) - 1)]
        yield compare_pairs(f"sampler {name}", 1e-5, [(torch.tensor([*ours, 0.0]), expected)])
    for prefix in prefixes_of(vectors, "final"):
        scales = re.fullmatch(r"cfg([\d.]+)_([\d.]+)\.", prefix)
        if scales:
            yield _trajectory(model, vectors, prefix, (float(scales[1]), float(scales[2])))


def _trajectory(model: AutoDIR, vectors: Vectors, prefix: str, scales: tuple[float, float]) -> Row:
    """Compare all states and estimates, computed from the first state with the recorded noises."""
    xs, estimates = vectors[f"{prefix}x"], vectors[f"{prefix}denoised"]
    plan, x = euler_ancestral(model.schedule, len(xs)), vectors["z_init"]
    pairs = []
    for i, step in enumerate(plan.steps):
        pairs.append((x, xs[i]))
        denoised = _estimate(model, vectors, StepCoefficients.stack([step] * len(x)), x, scales)
        pairs.append((denoised, estimates[i]))
        noise = vectors["noises"][i] if i + 1 < len(plan) else torch.zeros_like(x)
        x = advance(x, denoised, denoised, noise, StepCoefficients.stack([step] * len(x)))
    return compare_pairs(f"sampler {prefix}trajectory", 1e-4, [*pairs, (x, vectors[f"{prefix}final"])], "of range")


def _estimate(model: AutoDIR, vectors: Vectors, at: StepCoefficients, x: Tensor, scales: tuple[float, float]) -> Tensor:
    scaled = at.input_scale * x
    null = partial(vectors["uncond"].__getitem__, 0)
    output = guided(
        model.air.predict, scaled, vectors["z_I"], at.timestep, vectors["cond"], null, [scales] * len(x)
    )  # fmt: skip
    return denoised_from(model.config.air.prediction, scaled, output, at)


NETWORK_CHECKS: dict[str, Check[AutoDIR]] = {"scm": scm, "unet": unet, "vae": vae, "clip": clip, "sampler": sampler}
