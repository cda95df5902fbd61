"""The specialists' network: its published size, and the properties of a network without biases and norms."""

from dataclasses import replace

import pytest
import torch
from parity_check import assert_parity

from models.networks.drunet import DRUNet, DRUNetConfig, LineMeans

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
def test_a_result_has_the_size_of_its_input(size):
    restored = network()(picture(*size))
    assert restored.shape[-2:] == size
    assert restored.isfinite().all()


def test_padding_equals_a_reflected_picture_of_full_size():
    """A picture that needs padding is restored as with its own reflection below it."""
    restore, image = network(), picture(22, 32)
    reflected = torch.cat([image, image[:, :, [-2, -3]]], dim=2)
    assert_parity(restore(image), restore(reflected)[:, :, :22])


def test_the_result_of_an_image_does_not_depend_on_its_batch():
    restore, images = network(), picture(images=3)
    each = torch.cat([restore(image[None]) for image in images])
    assert_parity(restore(images), each)


def test_only_a_tonal_network_depends_on_the_brightness_of_distant_pixels():
    for tonal in (False, True):
        restore = network(DRUNetConfig(width=4, blocks=(1, 1), tonal=tonal))
        image = picture(128, 128)
        brighter = image.clone()
        brighter[..., 100:, 100:] += 0.5
        same = torch.equal(restore(image)[..., :16, :16], restore(brighter)[..., :16, :16])
        assert same is not tonal


def test_a_tonal_network_can_brighten_black():
    """Without biases a picture of zeros stays zero."""
    zeros = torch.zeros(1, 3, 16, 16)
    assert not network()(zeros).any()
    assert network(DRUNetConfig(width=4, blocks=(1, 1), tonal=True))(zeros).any()


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("tonal", [False, True])
def test_an_even_network_leaves_a_flat_picture_flat(patch, tonal):
    """No place of a grid has weights of its own; away from borders every pixel is computed alike."""
    config = DRUNetConfig(width=8, blocks=(1, 1, 1), patch=patch, tonal=tonal, even=True)
    restored = network(config).double()(torch.full((1, 3, 192, 192), 0.3, dtype=torch.float64))
    inside = restored[..., 80:112, 80:112]
    assert float((inside - 0.3).abs().max()) > 1e-3, "the network must do something"
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside), atol=1e-9, rtol=1e-9)


def test_a_network_that_is_not_even_can_draw_a_grid():
    restored = network(DRUNetConfig(width=8, blocks=(1, 1, 1), patch=2))(torch.full((1, 3, 192, 192), 0.3))
    assert float(restored[0, 0, 80:112, 80:112].std()) > 1e-3


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("tonal", [False, True])
def test_it_can_start_without_a_change(even, tonal):
    restore = network(replace(SMALL, even=even, tonal=tonal))
    restore.start_unchanged()
    image = picture()
    assert torch.equal(restore(image), image)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (33, 50)])
def test_an_even_result_has_the_size_of_its_input(size):
    restored = network(replace(SMALL, even=True))(picture(*size))
    assert restored.shape[-2:] == size
    assert restored.isfinite().all()


def test_line_means_added_to_a_trained_network_change_nothing():
    trained = network()
    with_lines = network(replace(SMALL, lines=True), seed=1)
    missing, unexpected = with_lines.load_state_dict(trained.state_dict(), strict=False)
    assert missing and not unexpected
    assert torch.equal(with_lines(picture()), trained(picture()))


def test_a_line_mean_reaches_along_its_row_and_its_column_alone():
    lines = LineMeans(3)
    torch.nn.init.eye_(lines.rows.weight[..., 0, 0])
    torch.nn.init.eye_(lines.columns.weight[..., 0, 0])
    spot = torch.zeros(1, 3, 8, 10)
    spot[0, 1, 2, 7] = 40.0
    expected = spot.clone()
    expected[0, 1, 2] += 40 / 10
    expected[0, 1, :, 7] += 40 / 8
    torch.testing.assert_close(lines(spot), expected)


def test_only_a_network_with_lines_depends_on_distant_pixels_of_the_same_row():
    for lines in (False, True):
        restore = network(DRUNetConfig(width=4, blocks=(1, 1), lines=lines))
        for name, weight in restore.named_parameters():
            if ".rows." in name:
                torch.nn.init.normal_(weight)
        image = picture(128, 128)
        stripe = image.clone()
        stripe[..., 5, 100:] += 0.5
        same = torch.equal(restore(image)[..., :16, :16], restore(stripe)[..., :16, :16])
        assert same is not lines


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (64, 48)])
def test_the_border_of_an_even_result_is_that_of_a_picture_which_goes_on(size):
    """Zeros beyond the border would print a frame: the outermost pixels must agree with those of a larger canvas."""
    restore, image, far = network(replace(SMALL, even=True)).double(), picture(*size).double(), 48
    rows, columns = ([abs(i) % (2 * n - 2) for i in range(-far, n + far)] for n in size)
    rows, columns = ([min(i, 2 * n - 2 - i) for i in at] for at, n in zip((rows, columns), size, strict=True))
    larger = restore(image[..., rows, :][..., columns])[..., far:-far, far:-far]
    inner, outer = (larger - image).abs().mean(), (restore(image) - larger).abs().mean()
    assert outer < 0.1 * inner
