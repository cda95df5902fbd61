"""MAXIM as a whole: its published size, any size of picture, and independence of the batch."""

import pytest
import torch
from parity_check import assert_parity

from models.maxim.config import MAXIMConfig
from models.maxim.network import MAXIM


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MAXIM(MAXIMConfig(stages=2)).eval().requires_grad_(False)


def picture(height=64, width=64, images=1):
    return torch.rand(images, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("stages", "numbers"), [(2, 14_170_988), (3, 22_207_605)])
def test_it_has_as_many_weights_as_the_released_networks(stages, numbers):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in MAXIM(MAXIMConfig(stages=stages)).parameters()) == numbers


def test_the_result_of_an_image_does_not_depend_on_its_batch(network):
    with torch.inference_mode():
        images = picture(images=2)
        assert_parity(network(images), torch.cat([network(image[None]) for image in images]))


@pytest.mark.parametrize("size", [(1, 1), (50, 64)])
def test_a_picture_of_any_size_is_restored_as_with_its_reflection_up_to_a_multiple_of_64(network, size):
    image = picture(*size)
    mode = "reflect" if min(size) > 1 else "replicate"
    padded = torch.nn.functional.pad(image, (0, 64 - size[1], 0, 64 - size[0]), mode)
    with torch.inference_mode():
        restored = network(image)
        assert restored.shape == image.shape
        assert_parity(restored, network(padded)[..., : size[0], : size[1]])


def test_an_untrained_last_layer_of_zeros_returns_the_picture(network):
    """The output is the picture plus a correction, in [-1, 1] as in [0, 1]."""
    silent = MAXIM(network.config).eval().requires_grad_(False)
    silent.load_state_dict(network.state_dict())
    silent.stages[-1].output.weight.zero_()
    silent.stages[-1].output.bias.zero_()
    image = picture()
    with torch.inference_mode():
        assert torch.equal(silent(image), image)
        # A correction of 0.1 in [0, 1] is 0.2 in [-1, 1]
        silent.stages[-1].output.bias.fill_(0.1)
        torch.testing.assert_close(silent(image), image + 0.2)


@pytest.mark.gpu
def test_half_precision_on_a_gpu_stays_near_the_cpu(network):
    image = picture(128, 128)
    half = MAXIM(network.config).eval().requires_grad_(False).to("cuda", torch.float16)
    half.load_state_dict(network.state_dict())
    with torch.inference_mode():
        difference = (half(image.cuda()).cpu() - network(image)).abs()
    assert difference.mean() < 1e-2 and difference.isfinite().all()
