"""Noise against the authors' module at the same seeds."""

import numpy as np
import pytest

from models.training.data.wild.added_noise import gaussian, random_gaussian, random_noise, random_poisson
from models.training.data.wild.random_streams import RandomStreams


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("gauss", lambda image: random_gaussian(image, RandomStreams(6))),
        ("poisson", lambda image: random_poisson(image, RandomStreams(7))),
        ("noise", lambda image: random_noise(image, RandomStreams(8))),
        ("deg_noise50", lambda image: gaussian(image, 50, RandomStreams(9))),
    ],
)
def test_noise_equals_the_published_one(ops, name, run):
    np.testing.assert_allclose(run(ops["img_bgr"]), ops[name], rtol=0, atol=1e-7)
