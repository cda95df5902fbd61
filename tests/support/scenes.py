"""Pictures that are like photographs: smooth areas of many colors, with texture."""

import numpy as np
import torch


def scene(seed=0, side=128):
    """A picture with smooth areas of many colors, and texture."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0.2, 0.8, (1, 3, 6, 6)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)[0]
    texture = torch.from_numpy(rng.uniform(-0.08, 0.08, (1, side, side)).astype(np.float32))
    return (smooth + texture).clamp(0, 1) * 2 - 1
