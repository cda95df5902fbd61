"""The specialists' network: the published one's size, and what follows from its being free of biases and norms."""

import pytest
import torch
from parity_check import assert_parity

from models.networks.drunet import DRUNet, DRUNetConfig

SMALL = DRUNetConfig(width=8, blocks=(1, 2, 1), patch=2)


def network(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return DRUNet(config).eval().requires_grad_(False)


def picture(height=24, width=32, images=1):
    return torch.rand(images, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_with_the_noise_map_s_channel_it_has_the_published_number_of_weights():
    """32,640,960 for color pictures, as the authors' repository (cszn/DPIR) states; the map is a fourth channel in."""
    with torch.device("meta"):
        found = sum(parameter.numel() for parameter in DRUNet(DRUNetConfig()).parameters())
    assert found + 64 * 3 * 3 == 32_640_960


@pytest.mark.parametrize("scale", [0.25, 3.0])
def test_a_brighter_picture_is_restored_as_much_brighter(scale):
    """Without biases every layer is homogeneous (Mohan et al. 2020, arXiv:1906.05478)."""
    restore, image = network(), picture()
    assert_parity(restore(image * scale), restore(image) * scale)


def test_moving_the_picture_by_its_stride_moves_the_restoration():
    restore, image = network().double(), picture(192, 192).double()
    stride = SMALL.stride
    assert stride == 8
    moved = restore(torch.roll(image, (stride, stride), (2, 3)))
    inside = slice(88, 104)
    expected = torch.roll(restore(image), (stride, stride), (2, 3))
    torch.testing.assert_close(moved[..., inside, inside], expected[..., inside, inside], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (33, 50)])
def test_every_size_comes_back_as_it_went_in(size):
    restored = network()(picture(*size))
    assert restored.shape[-2:] == size
    assert restored.isfinite().all()


def test_a_whole_multiple_of_the_stride_is_not_touched_by_padding():
    """The last rows of a picture that needs padding are those of its own reflection."""
    restore, image = network(), picture(22, 32)
    reflected = torch.cat([image, image[:, :, [-2, -3]]], dim=2)
    assert_parity(restore(image), restore(reflected)[:, :, :22])


def test_a_batch_is_its_pictures_one_by_one():
    restore, images = network(), picture(images=3)
    each = torch.cat([restore(image[None]) for image in images])
    assert_parity(restore(images), each)


def test_a_silent_last_layer_changes_nothing():
    restore = network()
    restore.tail.weight.zero_()
    image = picture()
    assert torch.equal(restore(image), image)


def test_only_the_tonal_one_knows_how_bright_the_far_end_of_a_picture_is():
    for tonal in (False, True):
        restore = network(DRUNetConfig(width=4, blocks=(1, 1), tonal=tonal))
        image = picture(128, 128)
        brighter = image.clone()
        brighter[..., 100:, 100:] += 0.5
        same = torch.equal(restore(image)[..., :16, :16], restore(brighter)[..., :16, :16])
        assert same is not tonal


def test_the_tonal_one_can_lift_black():
    """Without biases a picture of zeros stays one."""
    zeros = torch.zeros(1, 3, 16, 16)
    assert not network()(zeros).any()
    assert network(DRUNetConfig(width=4, blocks=(1, 1), tonal=True))(zeros).any()
