"""Measures three things on held-out photographs: confidence of the assessor, strength of each repair, and floors.

Confidence: the views are calibrated one by one, but their mean is underconfident.  One factor on the logits corrects
this (temperature scaling, Guo et al. 2017, arXiv:1706.04599, section 4.2): the factor with the smallest negative
log-likelihood.  A constant is subtracted from the "clean" logit (the bias of their section 4.2, for one name).  It is
not the likeliest one, as users' photographs are clean far more often than training pictures: it is the largest with
which few clean photographs are repaired by mistake.

Strength: the share of a repair that is blended into the input.  For input x, result r and truth y, the error of
x + s (r - x) is smallest at s = <r - x, y - x> / <r - x, r - x>, summed over the pictures.  A repair that does harm on
average gets 0, a repair that always helps gets 1.

Floor: a repair that gains G dB on its own degradation and losses L dB on others is worth a try from the probability p
with p G = (1 - p) L, so from L / (G + L).

Shapes:  B pictures, H W pixels.  Images are RGB (B, 3, H, W) float32 in [-1, 1].
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.autodir.next_repair import VEIL
from models.controls import Controls
from models.drive import restore_all
from models.pixels import newly_black_share
from models.psnr import mean_psnr
from models.restorer import Request, Restorer
from models.training.data.dataset import Example
from models.vocabulary import CLEAN

FLOOR_RANGE = (0.35, 0.65)
"""Below the minimum, a repair is a guess and never tried; from the maximum on, every repair is tried."""
LOGIT_FACTORS = tuple(math.exp(step / 12) for step in range(-8, 15))
"""Candidates for the factor on the logits: 0.5 to 3.2."""
CLEAN_OFFSETS = tuple(step / 8 for step in range(5))
"""Candidates for the constant subtracted from the "clean" logit: 0 to 0.5.

Three times the maximum makes the truth more probable where one picture in ten is clean, but held-out clean pictures
lost more by it than damaged ones gained (docs/experiments.md).
"""

CAUTION = tuple(step / 4 for step in range(2, -13, -1))
"""Candidates for the cautious constant, from 0.5 to -3; below 0 it favors "clean"."""
FALSE_REPAIRS = 0.05
"""Share of clean crops that may be repaired by mistake.

Of the first assessor that was measured so, 12 % of 300 clean crops were repaired at 0.5 and 5 % at -1.5, with 66 and 63
right labels among 97 damaged photos of others; below 3 %, real haze and faint noise are no longer found.
"""


def best_strength(before: Tensor, after: Tensor, truth: Tensor) -> float:
    """Returns the s in [0, 1] for which before + s (after - before) has the smallest mean square error."""
    change = (after - before).double()
    size = change.square().sum()
    if size == 0:
        return 1.0
    return float(((change * (truth - before).double()).sum() / size).clamp(0, 1))


def fit_confidence(answers: Sequence[tuple[Tensor, Tensor]], truth: Sequence[int], clean: int) -> tuple[float, float]:
    """Returns the factor on the logits and the offset of the "clean" logit that make the truth the most probable.

    Args:
        answers: for each picture the logits (V, K) and the shares (V,) of its views.
        truth: for each picture the index of its name.
        clean: the index of "clean".
    """
    views, shares = (torch.cat(parts) for parts in zip(*answers, strict=True))  # (N, K), (N,)
    picture = torch.repeat_interleave(torch.tensor([len(logits) for logits, _ in answers]))
    label = torch.tensor(truth)[picture]
    is_clean = (torch.arange(views.shape[1]) == clean).to(views.dtype)

    def negative_log_likelihood(factor: float, offset: float) -> float:
        by_view = (factor * views - offset * is_clean).softmax(dim=-1)
        own = shares * by_view[torch.arange(len(picture)), label]
        probabilities = torch.zeros(len(truth)).index_add(0, picture, own)
        return float(-probabilities.clamp_min(1e-9).log().mean())

    candidates = ((factor, offset) for factor in LOGIT_FACTORS for offset in CLEAN_OFFSETS)
    return min(candidates, key=lambda candidate: negative_log_likelihood(*candidate))


def cautious_offset(
    answers: Sequence[tuple[Tensor, Tensor]], factor: float, names: Sequence[str], floors: Mapping[str, float],
    at_most: float = FALSE_REPAIRS,
) -> float:  # fmt: skip
    """Returns the largest constant to subtract from the "clean" logit with which few clean pictures are repaired.

    Args:
        answers: for each clean picture the logits (V, K) and the shares (V,) of its views.
        factor: on the logits.
        names: of the K classes.
        floors: for each name, the least probability of its repair.
        at_most: share of the clean pictures that may be repaired, 0 to 1.
    """
    is_clean = torch.tensor([float(name == CLEAN) for name in names])
    least = torch.tensor([floors.get(name, 0.0) for name in names])

    def repaired(offset: float) -> float:
        count = 0
        for logits, shares in answers:
            found = shares @ (factor * logits - offset * is_clean).softmax(dim=-1)
            best = int(found.argmax())
            count += names[best] != CLEAN and bool(found[best] >= least[best])
        return count / len(answers)

    return next((offset for offset in CAUTION if repaired(offset) <= at_most), CAUTION[-1])


def measure_strengths(restorer: Restorer, examples: Sequence[Example], names: Sequence[str]) -> dict[str, float]:
    """Returns the best strength for each name; `examples` holds one batch for each name, in order."""
    strengths = {}
    for name, example in zip(names, examples, strict=True):
        if name == CLEAN:
            continue
        controls = Controls(prompt=prompt_of(name))
        requests = [Request(image=image, controls=controls) for image in example["degraded"]]
        results = torch.stack([done.image for done in restore_all(restorer, requests, together=8)])
        strengths[name] = round(best_strength(example["degraded"], results, example["target"]), 2)
    return strengths


def break_even_probability(gain: float, loss: float) -> float:
    """Returns L / (G + L), limited to FLOOR_RANGE; gain and loss are in dB, and a negative gain counts as 0."""
    low, high = FLOOR_RANGE
    if loss <= 0:
        return low
    return round(min(high, max(low, loss / (max(gain, 0.0) + loss))), 2)


def measure_floors(
    restorer: Restorer, examples: Sequence[Example], names: Sequence[str], each: int = 4, blackening: float = 1.0
) -> dict[str, float]:
    """Returns the probability from which each repair is worth a try.

    The gain of a repair is measured on `each` pictures of its own batch, the loss on `each` of every other batch.  The
    PSNR of a clean picture counts as 45 dB at most.
    """
    by_name = dict(zip(names, examples, strict=True))
    return {name: measure_floor(restorer, by_name, name, each, blackening) for name in names if name != CLEAN}


def measure_floor(
    restorer: Restorer, examples: Mapping[str, Example], name: str, each: int = 4, blackening: float = 1.0
) -> float:
    """Returns the floor of one repair; `examples` holds one batch for each name."""
    controls, limit = Controls(prompt=prompt_of(name)), blackening if name == VEIL else 1.0
    gains = {
        other: _gain(restorer, {key: value[:each] for key, value in example.items()}, controls, limit)
        for other, example in examples.items()
    }
    gain = gains.pop(name)
    return break_even_probability(gain, -sum(gains.values()) / len(gains))


def _gain(restorer: Restorer, example: Example, controls: Controls, blackening: float) -> float:
    """Returns the mean PSNR gain over the input, in dB, of one repair on one batch."""
    requests = [Request(image=image, controls=controls) for image in example["degraded"]]
    results = torch.stack(
        [
            # the safe loop rejects results that turn black
            image if newly_black_share(image, done.image) > blackening else done.image
            for image, done in zip(example["degraded"], restore_all(restorer, requests, together=8), strict=True)
        ]
    )
    return mean_psnr(results, example["target"]) - mean_psnr(example["degraded"], example["target"])
