"""The under-display filter against the authors' module at the same seed."""

import numpy as np
from safetensors.numpy import load_file

from models.training.data.wild.random_streams import RandomStreams
from models.training.data.wild.under_display import random_under_display


def test_the_under_display_filter_equals_the_published_one(ops, spreads_file):
    spreads = [load_file(spreads_file)[f"ucd{i}"] for i in range(3)]
    found = random_under_display(ops["img_bgr"], spreads, RandomStreams(5))
    np.testing.assert_allclose(found, ops["udc"], rtol=0, atol=1e-6)
