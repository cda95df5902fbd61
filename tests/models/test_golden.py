"""The golden image: the same bundle passes, a damaged network or a blank answer does not."""

import dataclasses

import pytest
import torch

from models import golden
from models.bundle import read_manifest, verify_bundle
from models.errors import BundleError, DeviceError
from models.restorer import Report, Restored


class Answers:
    """A restorer that answers with one picture, whatever it is asked."""

    def __init__(self, image):
        self.image = image

    def begin(self, requests):
        report = Report(degradations={}, passes=(), stop_reason="prompt-done", seed=0, steps=1)
        return [Restored(image=self.image, report=report) for _ in requests]


@dataclasses.dataclass
class Manifest:
    """As much of a manifest as is asked for."""

    golden: str | None = None
    files: dict = dataclasses.field(default_factory=dict)


def test_the_picture_is_the_same_every_time_and_in_range():
    assert torch.equal(golden.golden_image(), golden.golden_image())
    assert golden.golden_image().abs().max() <= 1


def test_an_answer_that_is_blank_or_no_number_is_refused_even_without_a_stored_one(tmp_path):
    for image in (torch.full((3, 96, 96), 0.2), torch.full((3, 96, 96), float("nan"))):
        with pytest.raises(DeviceError, match="Do not use this device"):
            golden.check(Answers(image), tmp_path, Manifest())
    assert golden.check(Answers(golden.golden_image()), tmp_path, Manifest()) is None


@pytest.fixture
def packed(tmp_path):
    from pathlib import Path
    from shutil import copytree

    shipped = Path(__file__).parents[2] / "models" / "bundles" / "autodir-small"
    if not shipped.is_dir():
        pytest.skip("models/bundles/autodir-small is not there")
    return copytree(shipped, tmp_path / "bundle")


def test_the_stored_answer_is_verified_and_close_answers_pass(packed):
    manifest = golden.record(Answers(golden.golden_image()), packed, read_manifest(packed))
    verify_bundle(packed)
    assert golden.check(Answers(golden.golden_image()), packed, manifest) > 60
    nearly = golden.golden_image() + 0.01 * torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(1))
    assert golden.check(Answers(nearly), packed, manifest) > golden.MIN_PSNR_DB
    with pytest.raises(DeviceError, match=r"PSNR of \d+\.\d dB"):
        golden.check(Answers(-golden.golden_image()), packed, manifest)


def test_a_stored_answer_that_was_changed_is_found_when_verifying(packed):
    golden.record(Answers(golden.golden_image()), packed, read_manifest(packed))
    path = packed / "golden.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"golden\.safetensors"):
        verify_bundle(packed)
