"""One tone for all tiles: broad regions follow the overview, details stay those of the tiles."""

import pytest
import torch

from models.autodir.tone import OVERVIEW_PX, follow, overview


def detail(height, width, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 0.2 - 0.1


def broad(height, width):
    rows, columns = torch.linspace(-0.5, 0.2, height)[:, None], torch.linspace(0, 0.3, width)
    return (rows + columns).expand(3, height, width)


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (900, 5000), (100, 80), (1, 7)])
def test_an_overview_is_the_photo_with_fewer_pixels(height, width):
    seen = overview(broad(height, width))
    assert seen.shape[-2] * seen.shape[-1] <= OVERVIEW_PX
    if height * width <= OVERVIEW_PX:
        assert torch.equal(seen, broad(height, width))
    assert float((seen.mean() - broad(height, width).mean()).abs()) < 1e-3


def test_an_overview_reads_integers():
    levels = torch.randint(0, 256, (3, 900, 1200), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(overview(levels), overview(levels.float() / 127.5 - 1), atol=1e-5, rtol=0)


def test_tiles_that_drift_agree_afterwards():
    """Two halves of one wall that were brightened differently, 0.15 = 19 levels apart, end within a level."""
    truth = broad(800, 1200) + detail(800, 1200)
    tiles = truth.clone()
    step = torch.sigmoid((torch.arange(1200) - 600) / 20.0)  # a blended border
    tiles += 0.15 * step
    apart = (follow(tiles, overview(truth)) - truth).abs()
    far = torch.cat([apart[..., :480], apart[..., 720:]], dim=-1)
    assert float(far.max()) < 1 / 127.5
    assert float(apart.mean()) < 0.02


def test_details_stay():
    restored = broad(800, 1200) + detail(800, 1200)
    followed = follow(restored.clone(), overview(broad(800, 1200)))
    assert float((followed - restored).abs().max()) < 1 / 127.5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (5, 3), (2000, 30)])
def test_any_shape(height, width):
    restored = follow(detail(height, width), overview(broad(height, width)))
    assert restored.shape == (3, height, width)
    assert restored.isfinite().all()
