"""The golden image: the same bundle passes, and another or a blank result does not."""

import dataclasses

import pytest
import torch

from models import golden
from models.bundle import read_manifest, verify_bundle
from models.errors import BundleError, DeviceError
from models.restoration_report import Report
from models.restorer import Restored


class FixedResult:
    """A restorer that returns one fixed picture."""

    def __init__(self, image):
        self.image = image

    def begin(self, requests):
        report = Report(degradations={}, passes=(), stop_reason="prompt-done", seed=0, steps=1)
        return [Restored(image=self.image, report=report) for _ in requests]


@dataclasses.dataclass
class Manifest:
    """The fields of a manifest that the check reads."""

    golden: str | None = None
    files: dict = dataclasses.field(default_factory=dict)


def test_the_picture_is_the_same_every_time_and_in_range():
    assert torch.equal(golden.golden_image(), golden.golden_image())
    assert golden.golden_image().abs().max() <= 1


def test_a_blank_result_or_one_with_nan_is_refused_even_without_a_recorded_result(tmp_path):
    for image in (torch.full((3, 96, 96), 0.2), torch.full((3, 96, 96), float("nan"))):
        with pytest.raises(DeviceError, match="Do not use this device"):
            golden.check(FixedResult(image), tmp_path, Manifest())
    assert golden.check(FixedResult(golden.golden_image()), tmp_path, Manifest()) is None


@pytest.fixture
def packed(tmp_path):
    from pathlib import Path
    from shutil import copytree

    shipped = Path(__file__).parents[2] / "models" / "bundles" / "autodir-small"
    if not shipped.is_dir():
        pytest.skip("models/bundles/autodir-small is not there")
    return copytree(shipped, tmp_path / "bundle")


def test_results_close_to_the_recorded_one_pass(packed):
    manifest = golden.record(FixedResult(golden.golden_image()), packed, read_manifest(packed))
    verify_bundle(packed)
    assert golden.check(FixedResult(golden.golden_image()), packed, manifest) > 60
    nearly = golden.golden_image() + 0.01 * torch.randn(3, 96, 96, generator=torch.Generator().manual_seed(1))
    assert golden.check(FixedResult(nearly), packed, manifest) > golden.MIN_PSNR_DB
    with pytest.raises(DeviceError, match=r"PSNR of \d+\.\d dB"):
        golden.check(FixedResult(-golden.golden_image()), packed, manifest)


def test_a_changed_recorded_result_fails_verification(packed):
    golden.record(FixedResult(golden.golden_image()), packed, read_manifest(packed))
    path = packed / "golden.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"golden\.safetensors"):
        verify_bundle(packed)
