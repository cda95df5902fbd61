"""Guidance against InstructPix2Pix's sum over all three branches, and which branches cost a computation."""

import pytest
import torch

from models.autodir.guidance import branch_weights, guided

NULL = torch.full((5, 6), 0.25)
SETTINGS = [(1.0, 1.0), (7.5, 1.5), (3.0, 1.0), (1.0, 2.0), (0.0, 1.0), (0.0, 0.0), (2.0, 2.0), (1.0, 0.0)]


class Network:
    """A denoiser without mixing between images, that remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, z, z_image, timestep, context):
        self.calls.append((z, z_image, timestep, context))
        word = context.mean(dim=(1, 2))[:, None, None, None]
        return torch.sin(z + 2 * word) + z_image * word + 0.001 * timestep[:, None, None, None]


def inputs(images=1):
    generator = torch.Generator().manual_seed(images)

    def draw(*shape):
        return torch.randn(images, *shape, generator=generator)

    return draw(4, 8, 8), draw(4, 8, 8), 1000 * torch.rand(images, generator=generator), draw(5, 6)


def three_branches(z, z_image, timestep, context, text, image):
    """Brooks et al. 2023, arXiv:2211.09800, Eq. 3, as printed."""
    network, null, nothing = Network(), NULL.expand_as(context), torch.zeros_like(z_image)
    uncond = network(z, nothing, timestep, null)
    image_only = network(z, z_image, timestep, null)
    cond = network(z, z_image, timestep, context)
    return uncond + image * (image_only - uncond) + text * (cond - image_only)


@pytest.mark.parametrize("scale", SETTINGS)
def test_guidance_is_the_published_sum(scale):
    ours = guided(Network(), *inputs(), lambda: NULL, [scale])
    torch.testing.assert_close(ours, three_branches(*inputs(), *scale), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", SETTINGS)
def test_the_weights_sum_to_one(scale):
    assert sum(branch_weights(*scale)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("scale", "branches"),
    [
        ((7.5, 1.5), {"cond", "image", "uncond"}),
        ((3.0, 1.0), {"cond", "image"}),
        ((1.0, 1.0), {"cond"}),
        ((1.0, 2.0), {"cond", "image", "uncond"}),
        ((2.0, 2.0), {"cond", "uncond"}),
        ((0.0, 1.0), {"image"}),
        ((0.0, 0.0), {"uncond"}),
    ],
)
def test_only_branches_that_count_are_computed_and_in_one_call(scale, branches):
    network, (z, z_image, timestep, context) = Network(), inputs()
    guided(network, z, z_image, timestep, context, lambda: NULL, [scale])
    (call,) = network.calls
    computed = []
    for row in range(len(call[0])):
        assert torch.equal(call[0][row], z[0]) and torch.equal(call[2][row], timestep[0])
        sees, reads = torch.equal(call[1][row], z_image[0]), torch.equal(call[3][row], context[0])
        assert sees or not call[1][row].any()
        assert reads or torch.equal(call[3][row], NULL)
        computed.append({(True, True): "cond", (True, False): "image", (False, False): "uncond"}[sees, reads])
    assert sorted(computed) == sorted(branches)


def test_guidance_at_one_is_the_plain_network_bit_for_bit_and_never_reads_the_null_prompt():
    def null():
        raise AssertionError("the null prompt is not needed")

    assert torch.equal(guided(Network(), *inputs(2), null, [(1.0, 1.0)] * 2), Network()(*inputs(2)))


def test_images_with_different_scales_share_a_call_and_come_out_as_if_alone():
    network, batch = Network(), inputs(3)
    scales = [(7.5, 1.5), (1.0, 1.0), (3.0, 1.0)]
    together = guided(network, *batch, lambda: NULL, scales)
    (call,) = network.calls
    assert len(call[0]) == 3 + 1 + 2
    for i, scale in enumerate(scales):
        alone = guided(Network(), *(part[i : i + 1] for part in batch), lambda: NULL, [scale])
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=1e-6)


def test_a_half_precision_network_still_gives_an_answer_in_the_latent_s_precision():
    def half(*parts):
        return Network()(*parts).bfloat16()

    ours = guided(half, *inputs(), lambda: NULL, [(7.5, 1.5)])
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, three_branches(*inputs(), 7.5, 1.5), atol=0.2, rtol=0.02)
