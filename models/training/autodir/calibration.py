"""How sure the assessor may be, how much of each repair to take, and how sure to be before it is tried: measured on
held-out photographs.

Each view learned to be as sure as it is right, but their mean is less sure than it is right.  One factor on CLIP's
temperature mends that (Guo et al. 2017, arXiv:1706.04599, section 4.2): the one with the least negative log-likelihood.
In training a third of what it sees is clean, so "clean" is taken down until no name is favored (their section 4.2's
bias, for one name).

The share of a repair is the blend with the input that has the least error.

For input x, result r and truth y the error of x + s (r - x) is least at s = <r - x, y - x> / <r - x, r - x>, summed
over the pictures.  A repair that does harm on average gets 0, one that helps throughout gets 1.

The floor: a repair that gains G dB where it fits and loses L dB where it does not is worth a try from the probability
p at which p G = (1 - p) L, so from L / (G + L).

Shapes:  B pictures, H W pixels.  Images are RGB (B, 3, H, W) float32 in [-1, 1].
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.autodir.restorer import VEIL
from models.drive import restore_all
from models.pixels import newly_black_share
from models.psnr import mean_psnr
from models.restorer import Controls, Request, Restorer
from models.training.data.dataset import Example
from models.vocabulary import CLEAN

FLOORS = (0.35, 0.65)
"""No floor is lower: guesses are not tried.  None is higher: what is found two to one is tried."""


def best_share(before: Tensor, after: Tensor, truth: Tensor) -> float:
    """The s in [0, 1] for which before + s (after - before) is nearest to the truth in the mean square."""
    change = (after - before).double()
    size = change.square().sum()
    if size == 0:
        return 1.0
    return float(((change * (truth - before).double()).sum() / size).clamp(0, 1))


SHARPNESS = tuple(math.exp(step / 12) for step in range(-8, 15))
"""Factors that are tried: 0.5 to 3.2."""
WARINESS = tuple(step / 8 for step in range(5))
"""What is tried to be taken off the logit of "clean": 0 to 0.5.

Three times as much makes the truth more probable where one picture in ten is clean, but held-out ones that were clean
lost more by it than damaged ones gained (docs/experiments.md).
"""


def calibration(answers: Sequence[tuple[Tensor, Tensor]], truth: Sequence[int], clean: int) -> tuple[float, float]:
    """The factor on the logits, and what to take off that of "clean", under which the truth is the most probable.

    answers: for each picture the logits (V, K) and shares (V,) of its views; truth: the index of its name.
    """

    views, shares = (torch.cat(parts) for parts in zip(*answers, strict=True))  # (N, K), (N,)
    owner = torch.repeat_interleave(torch.tensor([len(logits) for logits, _ in answers]))
    right = torch.tensor(truth)[owner]
    doubted = (torch.arange(views.shape[1]) == clean).to(views.dtype)

    def surprise(factor: float, wary: float) -> float:
        told = (factor * views - wary * doubted).softmax(dim=-1)
        probabilities = torch.zeros(len(truth)).index_add(0, owner, shares * told[torch.arange(len(owner)), right])
        return float(-probabilities.clamp_min(1e-9).log().mean())

    return min(((factor, wary) for factor in SHARPNESS for wary in WARINESS), key=lambda tried: surprise(*tried))


def strengths(restorer: Restorer, examples: Sequence[Example], names: Sequence[str]) -> dict[str, float]:
    """The best share for each name, told the task; `examples` holds a batch for each name, in order."""
    found = {}
    for name, example in zip(names, examples, strict=True):
        if name == CLEAN:
            continue
        controls = Controls(prompt=prompt_of(name))
        requests = [Request(image=image, controls=controls) for image in example["degraded"]]
        results = torch.stack([done.image for done in restore_all(restorer, requests, together=8)])
        found[name] = round(best_share(example["degraded"], results, example["target"]), 2)
    return found


def break_even(gain: float, loss: float) -> float:
    """L / (G + L) within FLOORS; gain and loss in dB, harm where nothing is gained wants the most."""
    low, high = FLOORS
    if loss <= 0:
        return low
    return round(min(high, max(low, loss / (max(gain, 0.0) + loss))), 2)


def floors(
    restorer: Restorer, examples: Sequence[Example], names: Sequence[str], each: int = 4, blackening: float = 1.0
) -> dict[str, float]:
    """From which probability each repair is worth a try: its gain on its own batch, its loss on `each` of the others.

    The clean picture's PSNR counts as 45 dB at most.
    """
    found = {}
    for name in names:
        if name == CLEAN:
            continue
        controls, most = Controls(prompt=prompt_of(name)), blackening if name == VEIL else 1.0
        gains = {
            other: _gain(restorer, {key: value[:each] for key, value in example.items()}, controls, most)
            for other, example in zip(names, examples, strict=True)
        }
        gain = gains.pop(name)
        found[name] = break_even(gain, -sum(gains.values()) / len(gains))
    return found


def _gain(restorer: Restorer, example: Example, controls: Controls, blackening: float) -> float:
    """Mean PSNR over the input's, in dB, of one repair on a batch that may or may not want it."""
    requests = [Request(image=image, controls=controls) for image in example["degraded"]]
    results = torch.stack(
        [
            image if newly_black_share(image, done.image) > blackening else done.image  # the safe loop takes it back
            for image, done in zip(example["degraded"], restore_all(restorer, requests, together=8), strict=True)
        ]
    )
    return mean_psnr(results, example["target"]) - mean_psnr(example["degraded"], example["target"])
