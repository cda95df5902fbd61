"""Noise depends only on the image's own seed."""

import math

import torch

from models.noise import NoiseStream

SHAPE = (4, 16, 24)


def test_the_same_seed_gives_the_same_draws():
    one, other = NoiseStream(7), NoiseStream(7)
    for _ in range(3):
        assert torch.equal(one.draw(SHAPE), other.draw(SHAPE))


def test_the_first_draw_is_that_of_torch_for_the_seed():
    """So that another program can reproduce an image: a seeded CPU generator, float32."""
    drawn = NoiseStream(20261120).draw(SHAPE)
    assert torch.equal(drawn, torch.randn(SHAPE, generator=torch.Generator().manual_seed(20261120)))
    assert drawn.dtype == torch.float32 and drawn.device.type == "cpu"


def test_two_streams_do_not_change_each_other():
    a, b = NoiseStream(1), NoiseStream(2)
    mixed = [stream.draw(SHAPE) for stream in (a, b, b, a)]
    alone = NoiseStream(1)
    assert torch.equal(mixed[0], alone.draw(SHAPE))
    assert torch.equal(mixed[3], alone.draw(SHAPE))


def test_the_global_generator_is_neither_read_nor_changed():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = NoiseStream(5).draw(SHAPE)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(NoiseStream(5).draw(SHAPE), first)


def test_draws_are_standard_normal_and_uncorrelated():
    """Mean and correlation within five standard errors of 0, variance of 1 (its standard error is sqrt(2 / n))."""
    stream = NoiseStream(11)
    draws = [stream.draw((100_000,)), stream.draw((100_000,)), NoiseStream(12).draw((100_000,))]
    error = 5 / math.sqrt(100_000)
    for draw in draws:
        assert abs(draw.mean()) < error
        assert abs(draw.var() - 1) < error * math.sqrt(2)
    correlations = torch.corrcoef(torch.stack(draws)) - torch.eye(3)
    assert correlations.abs().max() < error
