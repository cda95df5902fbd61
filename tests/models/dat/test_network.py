"""DAT as a whole: its size, any size of picture, independence of the batch, and tiles."""

import pytest
import torch
from parity_check import assert_parity

from models.dat.config import DATConfig
from models.dat.network import DAT
from models.tiles import Canvas, tile_grid

SMALL = DATConfig(scale=2, width=16, blocks=6, heads=4)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DAT(SMALL).eval().requires_grad_(False)


def picture(height=40, width=64, images=1):
    return torch.rand(images, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("scale", "thousands"), [(2, 553), (4, 573)])
def test_it_has_the_published_number_of_weights(scale, thousands):
    """The paper's table of light networks: 553 K and 573 K, which count neither statistics nor our omission."""
    with torch.device("meta"):
        network = DAT(DATConfig(scale=scale))
    statistics = sum(
        parameter.numel() for name, parameter in network.named_parameters() if name.endswith(("mean", "variance"))
    )  # fmt: skip
    position_bias = 9 * 2 * 21  # 9 blocks with two kinds of windows
    assert sum(p.numel() for p in network.parameters()) - statistics + position_bias == pytest.approx(
        1000 * thousands, abs=1000
    )


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (33, 70)])
def test_a_picture_of_any_size_is_enlarged(scale, size):
    config = DATConfig(scale=scale, width=16, blocks=3, heads=4)
    network = DAT(config).eval().requires_grad_(False)
    large = network(picture(*size))
    assert large.shape == (1, 3, scale * size[0], scale * size[1]) and torch.isfinite(large).all()


def test_the_result_of_an_image_does_not_depend_on_its_batch(network):
    images = picture(images=2)
    assert_parity(network(images), torch.cat([network(image[None]) for image in images]))


def test_a_network_of_zeros_returns_the_mean_of_the_training_pictures(network):
    silent = DAT(SMALL).eval().requires_grad_(False)
    silent.load_state_dict(network.state_dict())
    silent.output.weight.zero_()
    silent.output.bias.zero_()
    gray = silent(picture())[0].mean(dim=(1, 2))
    torch.testing.assert_close(gray, torch.tensor([0.4488, 0.4371, 0.4040]) * 2 - 1)


def test_the_normalization_is_that_of_torch(network):
    """The batch normalization is part of the convolution here."""
    ours = network.blocks[0].aggregation.beside
    theirs = torch.nn.BatchNorm2d(16).eval()
    with torch.no_grad():
        for value, own in zip(
            (theirs.weight, theirs.bias, theirs.running_mean, theirs.running_var),
            (ours.gain, ours.offset, ours.mean, ours.variance), strict=True,
        ):  # fmt: skip
            own.copy_(torch.rand(16) + 0.5)
            value.copy_(own)
        x = torch.randn(1, 9, 7, 16)
        expected = torch.nn.functional.gelu(theirs(ours.conv(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        torch.testing.assert_close(ours(x), expected)


def test_tiles_differ_little_from_the_whole_picture(network):
    """Not equal: attention between channels, and one of the gates, see the whole tile."""
    yy, xx = torch.meshgrid(torch.arange(96), torch.arange(128), indexing="ij")
    image = torch.stack([torch.sin(yy / 5), torch.cos(xx / 7), torch.sin((xx + yy) / 9)])
    whole, canvas = network(image[None])[0], Canvas(192, 256, 48)
    for tile in tile_grid(96, 128, 64 * 96, 24):
        part = network(tile.crop(image)[None])[0]
        place = type(tile)(
            *(2 * side for side in (tile.top, tile.left, tile.height, tile.width)), tile.index, tile.count
        )
        canvas.add(place, part)
    difference = (canvas.image() - whole).abs()
    spread = float(whole.std())
    assert 0 < float(difference.mean()) < 0.05 * spread


@pytest.mark.gpu
def test_half_precision_on_a_gpu_stays_near_the_cpu(network):
    image = picture(128, 128)
    half = DAT(SMALL).eval().requires_grad_(False).to("cuda", torch.float16)
    half.load_state_dict(network.state_dict())
    difference = (half(image.cuda()).cpu() - network(image)).abs()
    assert difference.mean() < 1e-2 and difference.isfinite().all()
