"""`undegrade models verify --golden`, with a bundle of untrained networks in the place of a paper's."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from models.bundle import read_manifest, write_manifest


@pytest.fixture
def foreign(bundles, workplace):
    """A bundle that says that it is AutoDIR's checkpoint."""
    shutil.copytree(bundles / "autodir-small", workplace / "foreign")
    manifest = read_manifest(workplace / "foreign")
    about = "AutoDIR as its authors released it, converted from autodir.ckpt."
    write_manifest(workplace / "foreign", manifest.model_copy(update={"description": about}))
    return "foreign"


@pytest.fixture
def benchmark(workplace):
    """Four pairs with the file names of GoPro, and one of another set."""
    generator = np.random.default_rng(0)
    for kind in ("lq", "gt"):
        folder = workplace / "pairs" / "deblur" / kind
        folder.mkdir(parents=True)
        for name in ("gopro_0", "gopro_1", "gopro_2", "gopro_3", "other_0"):
            pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
    return "pairs"


def test_a_checkpoint_that_does_not_reach_the_papers_psnr_differs(undegrade, foreign, benchmark):
    result = undegrade("models", "verify", foreign, benchmark, "--golden", "--device", "cpu", "--limit", 3, "--json")
    assert result.code == 1, result.err
    (row,) = [json.loads(line) for line in result.text.splitlines()]
    assert (row["benchmark"], row["images"], row["published_db"], row["verdict"]) == ("GoPro", 3, 26.86, "differs")
    assert row["low_db"] < row["psnr_db"] < row["high_db"] < 15
    assert "the source does not say which channels" in result.err


def test_a_pair_that_cannot_be_read_is_named_and_the_others_are_measured(undegrade, foreign, benchmark, workplace):
    (workplace / "pairs/deblur/gt/gopro_1.png").write_bytes(b"damaged")
    result = undegrade("models", "verify", foreign, benchmark, "--golden", "--device", "cpu")
    assert (result.code, "error: GoPro: " in result.err, "gopro_1.png" in result.err) == (1, True, True), result.err
    assert "3 of 1111" in result.text and "26.86" in result.text


def test_without_a_folder_the_golden_image_is_restored(undegrade, foreign):
    result = undegrade("models", "verify", foreign, "--golden", "--device", "cpu")
    assert (result.code, "golden image" in result.err) == (0, True), result.err


def test_a_network_that_does_not_compute_the_recorded_output_differs(undegrade, workplace):
    """A file that says that the specialist *detail* turns black into white."""
    (workplace / "vectors").mkdir()
    tensors = {"input_64": torch.zeros(64, 64, 3, dtype=torch.uint8), "output_64": torch.ones(64, 64, 3)}
    save_file(tensors, workplace / "vectors" / "maxim-detail.safetensors")
    result = undegrade("models", "verify", "autodir-small", "vectors", "--golden", "--device", "cpu", "--json")
    row = json.loads(result.text)
    assert (result.code, row["output"], row["verdict"]) == (1, "detail input_64", "differs"), result.err
    assert row["psnr_db"] < 5


REFUSED = {
    "a folder without --golden": (("foreign", "pairs"), "without --golden"),
    "a bundle of our own": (("autodir-small", "pairs", "--golden"), "not converted from a checkpoint of a paper"),
    "a folder without a benchmark": (("foreign", "empty", "--golden"), "deblur/lq/gopro*"),
    "outputs of other networks": (("foreign", "others", "--golden"), "no recorded outputs"),
    "a folder without tasks": (("foreign", ".", "--golden"), "no TASK/lq folder"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_compared_is_refused(with_bundle, foreign, benchmark, workplace, what):
    (workplace / "empty" / "snow" / "lq").mkdir(parents=True)
    (workplace / "others").mkdir()
    (workplace / "others" / "maxim-other.safetensors").touch()
    words, sentence = REFUSED[what]
    result = with_bundle("models", "verify", *words)
    assert (result.code, sentence in result.err, "Traceback" in result.err) == (2, True, False), result.err
