"""Guidance against InstructPix2Pix's sum over all three branches, and which branches cost a computation."""

import pytest
import torch
from parity_check import assert_parity

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
    assert_parity(ours, three_branches(*inputs(), *scale))


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
        assert_parity(together[i : i + 1], alone)


def test_a_half_precision_network_still_gives_an_answer_in_the_latent_s_precision():
    def half(*parts):
        return Network()(*parts).bfloat16()

    ours = guided(half, *inputs(), lambda: NULL, [(7.5, 1.5)])
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, three_branches(*inputs(), 7.5, 1.5), atol=0.2, rtol=0.02)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_guided_sum_is_added_up_in_one_order(order):
    """1e8 + 1 - 1e8 is 0 or 1 in float32 by the order; cond, image, uncond gives the same for every place."""
    values = {0.0: 1e8, 1.0: 1.0}

    def network(z, z_image, timestep, context):
        cond = (context.mean(dim=(1, 2)) > 0.5).float()
        return torch.stack([torch.full_like(z[0], values[float(flag)]) for flag in cond])

    z = torch.zeros(3, 1, 2, 2)
    context = torch.ones(3, 5, 6)
    scales = [(2.0, 1.0), (7.5, 1.5), (1.0, 1.0)]
    found = guided(network, z, z + 1, torch.zeros(3), context, lambda: NULL * 0, [scales[i] for i in order])
    alone = [guided(network, z[:1], z[:1] + 1, torch.zeros(1), context[:1], lambda: NULL * 0, [s]) for s in scales]
    assert torch.equal(found, torch.cat([alone[i] for i in order]))
