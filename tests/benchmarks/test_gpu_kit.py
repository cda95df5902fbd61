"""What travels to a GPU machine: its size, the wheels, and a bundle that is smaller and still a bundle."""

import importlib.metadata
import zipfile
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from models.bundle import DEFAULT_BUNDLE, MANIFEST, find_bundle, read_manifest, verify_bundle
from models.errors import BundleError
from models.networks.clip import tokenize

ROOT = Path(__file__).parents[2]


class TestSize:
    def test_a_kit_at_the_limit_may_travel_and_one_byte_more_may_not(self):
        from gpu_kit import TooLarge, check_size

        assert check_size({"source": 40, "bundle": 60}, limit_bytes=100)
        with pytest.raises(TooLarge, match="the largest part is bundle"):
            check_size({"source": 41, "bundle": 60}, limit_bytes=100)

    def test_the_command_fails_with_a_sentence(self, tmp_path, monkeypatch, capsys):
        import gpu_kit

        monkeypatch.setattr(gpu_kit, "download", lambda packages, folder: [])
        monkeypatch.setattr(gpu_kit, "find_bundle", lambda name: ROOT)
        monkeypatch.setattr(gpu_kit, "read_manifest", lambda bundle: Named())
        monkeypatch.setattr(gpu_kit, "trim_bundle", write_something)
        assert gpu_kit.main(["--out", str(tmp_path), "--limit-mib", "1"]) == 1
        said = capsys.readouterr().err
        assert "too large to travel" in said and "of at most 1" in said and "Leave out" in said

    def test_the_source_has_no_bundles_and_all_tracked_code(self):
        from gpu_kit import source_files

        names = {str(file.relative_to(ROOT)) for file in source_files()}
        assert {"models/bundle.py", "benchmarks/gpu.py", "tests/conftest.py"} <= names
        assert not [name for name in names if name.startswith("models/bundles/")]


class Named:
    name, version, weights = "small", "1", {}


def write_something(bundle, out, archive):
    out.mkdir(parents=True)
    archive.write_bytes(bytes(100))
    return Named()


class TestWheels:
    def test_all_that_the_installed_packages_require_is_there_or_carried(self):
        """The oracle is the metadata of each package itself."""
        from gpu_stages.wheels import ENVIRONMENT, PRESENT, UNUSED, missing_packages, normalized

        carried = missing_packages(ROOT / "pyproject.toml")
        for name, version in carried.items():
            assert importlib.metadata.version(name) == version
            for requirement in map(Requirement, importlib.metadata.requires(name) or []):
                if requirement.marker is None or requirement.marker.evaluate(ENVIRONMENT):
                    assert normalized(requirement.name) in carried.keys() | PRESENT | UNUSED, (name, requirement)
        assert {"diffusers", "fastapi", "pydantic-core", "rq"} <= carried.keys()
        assert not carried.keys() & {"torch", "numpy", "imagecodecs"}

    def test_the_wheel_without_modules_tells_the_version(self, tmp_path):
        from gpu_stages.wheels import metadata_wheel

        with zipfile.ZipFile(metadata_wheel(ROOT / "pyproject.toml", tmp_path)) as wheel:
            wheel.extractall(tmp_path / "site")
        (found,) = importlib.metadata.distributions(path=[str(tmp_path / "site")])
        assert (found.metadata["Name"], found.version) == ("undegrade", importlib.metadata.version("undegrade"))


class TestRounding:
    @pytest.mark.parametrize("bits", [3, 4, 7])
    def test_a_weight_is_off_by_half_a_unit_of_the_kept_bits_at_most(self, bits):
        """The oracle is the definition of a floating-point number: an error of at most 2^-(bits+1) of its power."""
        from gpu_stages.trimmed_bundle import rounded

        before = torch.randn(200, 50).mul(torch.logspace(-3, 3, 50)).half()
        after = rounded({"w": before}, bits)["w"]
        power = torch.frexp(before.double()).exponent.sub(1).clamp(min=-14)  # below, a half has fixed steps
        error = (after.double() - before.double()).abs()
        assert (error <= 2.0 ** (power - bits - 1)).all() and error.max() > 0
        steps = after.double() / 2.0 ** (power - bits)
        assert torch.equal(steps, steps.round())

    def test_vectors_and_other_types_stay(self):
        from gpu_stages.trimmed_bundle import rounded

        state = {"bias": torch.randn(9).half(), "w": torch.randn(3, 3), "ids": torch.arange(4).reshape(2, 2)}
        assert all(rounded(state)[name] is value for name, value in state.items())


@pytest.mark.slow
def test_only_embeddings_of_used_words_stay():
    from gpu_stages.trimmed_bundle import EMBEDDING, without_words

    state = {EMBEDDING: torch.randn(49408, 2), "other": torch.ones(1)}
    smaller = without_words(state, ["remove the haze", ""])
    used = tokenize(["remove the haze", ""]).unique()
    assert torch.equal(smaller[EMBEDDING][used], state[EMBEDDING][used])
    assert int(smaller[EMBEDDING].any(dim=1).sum()) == len(used)
    assert without_words({"other": state["other"]}, ["a"]) == {"other": state["other"]}


@pytest.mark.slow
def test_a_trimmed_bundle_is_a_bundle_with_nearly_the_same_pictures(tmp_path):
    import tarfile

    from gpu_stages.trimmed_bundle import trim_bundle

    from models import golden
    from models.families import load_restorer
    from models.psnr import psnr

    try:
        shipped = find_bundle(DEFAULT_BUNDLE)
    except BundleError as error:
        pytest.skip(str(error))
    if "trimmed" in read_manifest(shipped).version:
        pytest.skip("the shipped bundle did not travel")
    trim_bundle(shipped, tmp_path / "out", tmp_path / "bundle.tar.bz2")
    with tarfile.open(tmp_path / "bundle.tar.bz2") as tar:
        tar.extractall(tmp_path / "there", filter="data")
    found = tmp_path / "there" / DEFAULT_BUNDLE
    verify_bundle(found)
    assert (tmp_path / "bundle.tar.bz2").stat().st_size < 33e6
    cpu = torch.device("cpu")
    restorer = load_restorer(found, cpu)
    assert golden.check(restorer, found, read_manifest(found)) > 60
    assert psnr(golden.restore_golden(restorer), golden.restore_golden(load_restorer(shipped, cpu))) > 35
    assert list(read_manifest(found).networks["specialists"]) == ["detail"]
    (found / MANIFEST).write_text((found / MANIFEST).read_text().replace('"bytes": ', '"bytes": 1'))
    with pytest.raises(BundleError):
        verify_bundle(found)
