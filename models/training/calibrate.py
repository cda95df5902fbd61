"""How much of each repair to take: the blend with the input that has the least error on held-out photographs.

For input x, result r and truth y the error of x + s (r - x) is least at s = <r - x, y - x> / <r - x, r - x>, summed
over the pictures.  A repair that does harm on average gets 0, one that helps throughout gets 1.

Shapes:  B pictures, H W pixels.  Images are RGB (B, 3, H, W) float32 in [-1, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.assessor import prompt_of
from models.loop import restore_all
from models.restorer import Controls, Request, Restorer
from models.training.dataset import Example
from models.vocabulary import CLEAN


def best_share(before: Tensor, after: Tensor, truth: Tensor) -> float:
    """The s in [0, 1] for which before + s (after - before) is nearest to the truth in the mean square."""
    change = (after - before).double()
    size = change.square().sum()
    if size == 0:
        return 1.0
    return float(((change * (truth - before).double()).sum() / size).clamp(0, 1))


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
