"""Text and image guidance with three conditions (InstructPix2Pix, Brooks et al. 2023, arXiv:2211.09800, Eq. 3).

    D = uncond + s_T (cond - image) + s_I (image - uncond)

with cond = (text, z_I), image = (null text, z_I), uncond = (null text, zero latent).  Sorted by branch the weights are
s_T, s_I - s_T and 1 - s_I.  A branch of weight zero is not computed, which is exact: at 1/1 only cond is left.

Shapes:  B images, C latent channels, h w latent pixels, L D text tokens and width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.device import to_device

Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(z (B, C, h, w), z_I, timestep (B,), context (B, L, D)) -> the network's output (B, C, h, w)."""


ONLY_COND = (1.0, 0.0, 0.0)
"""The weights at the default scales, 1 and 1."""


def branch_weights(text: float, image: float) -> tuple[float, float, float]:
    """Returns the weights of cond, image and uncond, which sum to 1."""
    return text, image - text, 1 - image


def guided(
    predict: Predict,
    z: Tensor,
    z_image: Tensor,
    timestep: Tensor,
    context: Tensor,
    null: Callable[[], Tensor],
    scales: Sequence[tuple[float, float]],
) -> Tensor:
    """Returns the guided output (B, C, h, w) from one network call over the branches with a weight other than zero.

    `scales` holds (text, image) for each image; `null` returns the null prompt's states (L, D) and is called on demand.
    """
    weights = [branch_weights(*scale) for scale in scales]
    if all(row == ONLY_COND for row in weights):
        return predict(z, z_image, timestep, context).to(z.dtype)
    wanted = [(i, branch) for i, row in enumerate(weights) for branch in range(3) if row[branch] != 0]
    rows = to_device(torch.tensor([i for i, _ in wanted]), z.device)
    contexts = [context[i] if branch == 0 else null().to(context) for i, branch in wanted]
    images = [torch.zeros_like(z_image[i]) if branch == 2 else z_image[i] for i, branch in wanted]
    outputs = predict(z[rows], torch.stack(images), timestep[rows], torch.stack(contexts))
    share = to_device(torch.tensor([weights[i][branch] for i, branch in wanted], dtype=z.dtype), z.device)
    weighted = (share[:, None, None, None] * outputs).to(z.dtype)
    total = torch.zeros_like(z)
    for branch in range(3):  # branch by branch: CUDA adds several values at one index in no fixed order
        places = [place for place, (_, of) in enumerate(wanted) if of == branch]
        if places:
            chosen = to_device(torch.tensor(places), z.device)
            total.index_add_(0, rows[chosen], weighted[chosen])
    return total
