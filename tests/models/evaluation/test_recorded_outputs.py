"""Recorded outputs: files as those of ../shared/parity/maxim, with a network that is known."""

import math

import pytest
import torch
from safetensors.torch import save_file

from models.errors import BundleError
from models.evaluation.recorded_outputs import SAME_DB, compare_outputs, vector_files


@pytest.fixture
def vectors(tmp_path):
    """The network whose outputs are recorded doubles its input in [0, 1]; outputs are not clamped."""
    pixels = torch.randint(0, 256, (16, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    tensors = {"input_16x24": pixels, "output_16x24": pixels.float() / 255 * 2}
    for key in ("doubling", "unknown"):
        save_file(tensors, tmp_path / f"maxim-{key}.safetensors")
    return tmp_path


def doubled(key, degraded):
    return (((degraded + 1) / 2 * 2) * 2 - 1).clamp(-1, 1)


def test_the_network_that_was_recorded_is_recognized_and_others_are_not(vectors):
    ((name, score_db),) = compare_outputs(["doubling"], doubled, vectors)
    assert (name, score_db > 100 or math.isinf(score_db)) == ("doubling input_16x24", True)
    rounded = list(compare_outputs(["doubling"], lambda key, x: doubled(key, x.half().float()), vectors))
    ((_, other_db),) = compare_outputs(["doubling"], lambda key, x: x, vectors)
    assert rounded[0][1] > SAME_DB > 20 > other_db


def test_only_networks_of_the_bundle_are_compared_and_a_damaged_file_is_named(vectors):
    assert [path.name for path in vector_files(vectors)] == ["maxim-doubling.safetensors", "maxim-unknown.safetensors"]
    assert list(compare_outputs(["other"], doubled, vectors)) == []
    (vectors / "maxim-doubling.safetensors").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"maxim-doubling\.safetensors"):
        list(compare_outputs(["doubling"], doubled, vectors))
