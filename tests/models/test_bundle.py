"""Bundles: what is written is read again, and every kind of damage is named."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from parity_check import assert_parity
from safetensors.torch import load_file, save_file

from models import folders
from models.autodir.assessor import prompt_of
from models.bundle import (
    BundleDegradation,
    Manifest,
    find_bundle,
    list_bundles,
    load_weights,
    read_manifest,
    read_weights,
    sha256_of,
    verify_bundle,
    write_bundle,
)
from models.controls import Controls
from models.drive import restore_one
from models.errors import BundleError
from models.families import load_restorer
from models.folders import MANIFEST, bundle_folders
from models.networks.nafnet import NAFNet
from models.restorer import Request
from models.vocabulary import CLEAN

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(random_networks):
    assessor, air, scm = random_networks
    return {"clip": assessor.clip.state_dict(), "air": air.state_dict(), "scm": scm.state_dict()}


@pytest.fixture(scope="module")
def manifest(random_config):
    networks = {name: asdict(getattr(random_config, name)) for name in ("clip", "air", "scm", "loop")}
    degradations = tuple(
        BundleDegradation(name=name, prompt=prompt_of(name), fidelity=0.0 if name == CLEAN else 0.5)
        for name in random_config.names
    )
    return Manifest(
        family="autodir", name="tiny", version="1", description="Random weights.", license="Apache-2.0",
        degradations=degradations, networks=networks, weights={}, files={}, prompts="free",
    )  # fmt: skip


@pytest.fixture
def bundle(tmp_path, manifest, weights):
    folder = tmp_path / "bundles" / "tiny"
    write_bundle(folder, manifest, weights, torch.float32)
    return folder


def edit(bundle, change):
    """Let `change` edit the manifest's JSON in place."""
    stated = json.loads((bundle / MANIFEST).read_text())
    change(stated)
    (bundle / MANIFEST).write_text(json.dumps(stated))


def rewrite(bundle, file, change):
    """Let `change` edit the tensors of a file and update its hash: the file is wrong, but not damaged."""
    state = load_file(bundle / file)
    change(state)
    save_file(state, bundle / file)
    found = {"bytes": (bundle / file).stat().st_size, "sha256": sha256_of(bundle / file)}
    edit(bundle, lambda stated: stated["files"].update({file: found}))


class TestRoundTrip:
    def test_the_manifest_is_read_as_written(self, tmp_path, manifest, weights):
        written = write_bundle(tmp_path, manifest, weights, torch.float32)
        assert read_manifest(tmp_path).model_dump(mode="json") == written.model_dump(mode="json")
        assert set(written.weights) == {"clip", "air", "scm"}

    def test_every_weight_is_read_exactly(self, bundle, weights):
        for network, state in weights.items():
            found = read_weights(bundle, read_manifest(bundle), network, CPU)
            assert found.keys() == state.keys()
            assert all(torch.equal(found[name], value) for name, value in state.items())

    def test_a_loaded_bundle_restores_like_its_networks(self, bundle, autodir):
        request = Request(image=torch.rand(3, 24, 32) * 2 - 1, controls=Controls(prompt="fog"))
        ours = restore_one(load_restorer(bundle, CPU), request).image
        theirs = restore_one(autodir(fidelity={name: 0.5 for name in autodir().names}), request).image
        assert_parity(ours, theirs)

    def test_half_precision_on_disk_is_float32_in_memory(self, tmp_path, manifest, weights):
        write_bundle(tmp_path, manifest, weights, torch.float16)
        stored = read_weights(tmp_path, read_manifest(tmp_path), "scm", CPU)
        assert {value.dtype for value in stored.values()} == {torch.float16}
        loaded = load_restorer(tmp_path, CPU).scm.state_dict()
        assert {value.dtype for value in loaded.values()} == {torch.float32}
        for name, value in weights["scm"].items():
            torch.testing.assert_close(loaded[name], value.half().float(), atol=0, rtol=0)

    def test_an_undamaged_bundle_verifies(self, bundle):
        verify_bundle(bundle)

    def test_large_networks_are_split_into_several_files(self, tmp_path, manifest):
        state = {f"layer{i}": torch.full((2**20,), float(i)) for i in range(9)}  # 4.2 MB each
        written = write_bundle(tmp_path, manifest, {"scm": state}, torch.float32)
        sizes = [(tmp_path / name).stat().st_size for name in written.weights["scm"]]
        assert len(sizes) == 3
        assert max(sizes) < 16 * 2**20
        found = read_weights(tmp_path, written, "scm", CPU)
        assert all(torch.equal(found[name], value) for name, value in state.items())


class TestDamage:
    @pytest.mark.parametrize("file", ["clip.safetensors", "air.safetensors", "scm.safetensors"])
    def test_one_flipped_byte_is_named(self, bundle, file):
        content = bytearray((bundle / file).read_bytes())
        content[len(content) // 2] ^= 1
        (bundle / file).write_bytes(content)
        with pytest.raises(BundleError, match=rf"{file} has sha256 .* damaged"):
            verify_bundle(bundle)
        with pytest.raises(BundleError, match=rf"{file} has sha256 .* damaged"):
            load_restorer(bundle, CPU)

    def test_a_truncated_file_is_named_by_its_size(self, bundle):
        path = bundle / "air.safetensors"
        path.write_bytes(path.read_bytes()[:-7])
        with pytest.raises(BundleError, match=r"air\.safetensors has \d+ bytes, expected \d+"):
            verify_bundle(bundle)
        with pytest.raises(BundleError, match=r"air\.safetensors has \d+ bytes"):
            load_restorer(bundle, CPU)

    def test_a_missing_file_is_named(self, bundle):
        (bundle / "scm.safetensors").unlink()
        with pytest.raises(BundleError, match=r"scm\.safetensors is missing"):
            verify_bundle(bundle)
        with pytest.raises(BundleError, match=r"scm\.safetensors is missing"):
            load_restorer(bundle, CPU)

    def test_a_weight_file_without_a_hash_is_named(self, bundle):
        edit(bundle, lambda stated: stated["files"].pop("scm.safetensors"))
        with pytest.raises(BundleError, match=r"no sha256 for scm\.safetensors"):
            verify_bundle(bundle)

    def test_a_missing_key_is_named(self, bundle):
        rewrite(bundle, "scm.safetensors", lambda state: state.pop("intro.weight"))
        with pytest.raises(BundleError, match=r"\(scm\) does not fit NAFNet(.|\n)*Missing(.|\n)*intro\.weight"):
            load_restorer(bundle, CPU)

    def test_an_unexpected_key_is_named(self, bundle):
        rewrite(bundle, "scm.safetensors", lambda state: state.update(outro=torch.zeros(1)))
        with pytest.raises(BundleError, match=r"\(scm\) does not fit NAFNet(.|\n)*Unexpected(.|\n)*outro"):
            load_restorer(bundle, CPU)

    def test_a_wrong_shape_is_named_with_both_shapes(self, bundle):
        rewrite(bundle, "scm.safetensors", lambda state: state.update({"intro.bias": torch.zeros(5)}))
        with pytest.raises(BundleError, match=r"intro\.bias(.|\n)*\[5\](.|\n)*\[4\]"):
            load_restorer(bundle, CPU)

    def test_a_network_without_files_is_named(self, bundle):
        edit(bundle, lambda stated: stated["weights"].pop("air"))
        with pytest.raises(BundleError, match="lists no weights for 'air'"):
            load_restorer(bundle, CPU)

    def test_an_unknown_family_is_refused_with_the_known_ones(self, bundle):
        edit(bundle, lambda stated: stated.update(family="autodri"))
        with pytest.raises(BundleError, match="got family 'autodri', expected one of autodir"):
            load_restorer(bundle, CPU)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda stated: stated.update(licens="x"), "licens"),
            (lambda stated: stated.pop("licence"), "licence"),
            (lambda stated: stated.update(format=2), "format"),
            (lambda stated: stated["degradations"][0].update(fidelity=1.5), r"degradations\.0\.fidelity"),
            (
                lambda stated: stated["files"]["scm.safetensors"].update(sha256="abc"),
                r"files\.scm\.safetensors\.sha256",
            ),
        ],
    )
    def test_a_wrong_field_of_the_manifest_is_named(self, bundle, change, named):
        edit(bundle, change)
        with pytest.raises(BundleError, match=rf"{MANIFEST}: {named}: "):
            read_manifest(bundle)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda networks: networks["scm"].update(widht=8), r"networks\.scm\.widht"),
            (lambda networks: networks["scm"].update(width="wide"), r"networks\.scm\.width"),
            (lambda networks: networks.update(smc={}), r"networks\.smc"),
            (lambda networks: networks["loop"].update(step=4), r"networks\.loop\.step"),
            (lambda networks: networks["air"]["unet"].update(heds=4), r"networks\.air\.unet\.heds"),
        ],
    )
    def test_a_wrong_field_of_a_network_configuration_is_named(self, bundle, change, named):
        edit(bundle, lambda stated: change(stated["networks"]))
        with pytest.raises(BundleError, match=named):
            load_restorer(bundle, CPU)

    def test_a_manifest_that_is_not_json_is_refused(self, bundle):
        (bundle / MANIFEST).write_text("{")
        with pytest.raises(BundleError, match=rf"{MANIFEST}: the file: .*JSON"):
            read_manifest(bundle)

    def test_a_folder_without_a_manifest_is_not_a_bundle(self, tmp_path):
        with pytest.raises(BundleError, match=rf"cannot read .*{MANIFEST}.*A bundle is a folder"):
            read_manifest(tmp_path)


class TestFinding:
    def test_a_path_is_used_as_given(self, bundle):
        assert find_bundle(str(bundle)) == bundle

    def test_a_name_is_searched_in_the_folders_of_the_environment_variable(self, bundle, monkeypatch):
        monkeypatch.setenv("UNDEGRADE_BUNDLES", str(bundle.parent))
        assert find_bundle("tiny") == bundle
        assert bundle in list_bundles()
        assert bundle_folders()[0] == bundle.parent

    def test_an_earlier_folder_has_priority(self, bundle, tmp_path, manifest, monkeypatch):
        other = tmp_path / "others" / "tiny"
        write_bundle(other, manifest, {})
        monkeypatch.setenv("UNDEGRADE_BUNDLES", f"{other.parent}:{bundle.parent}")
        assert find_bundle("tiny") == other
        assert bundle not in list_bundles()


def test_a_bundle_of_another_distribution_is_found(bundle, tmp_path, monkeypatch):
    """As the wheel of distributions/daclip-small installs one: a folder of a namespace package, without code."""
    for site in ("one", "other"):
        shutil.copytree(bundle, tmp_path / site / "undegrade_bundles" / site)
        monkeypatch.syspath_prepend(tmp_path / site)
    assert find_bundle("one") == tmp_path / "one" / "undegrade_bundles" / "one"
    assert {"one", "other"} <= {found.name for found in list_bundles()}


def test_a_bundle_that_the_wheel_lacks_is_known_by_its_distribution(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "SHIPPED", tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(BundleError, match=r"daclip-small.*installed: none\. Install the wheel undegrade-daclip-small"):
        find_bundle("daclip-small")
    assert 'name = "undegrade-daclip-small"' in (ROOT / "distributions" / "daclip-small" / "pyproject.toml").read_text()

    def test_an_unknown_name_is_refused_with_the_installed_names(self, bundle, monkeypatch):
        monkeypatch.setenv("UNDEGRADE_BUNDLES", str(bundle.parent))
        with pytest.raises(BundleError, match=r"no bundle 'tinny'.*tiny.*UNDEGRADE_BUNDLES"):
            find_bundle("tinny")


def test_loading_weights_draws_no_random_numbers_and_leaves_nothing_on_the_meta_device(random_config, weights):
    with torch.device("meta"):
        network = NAFNet(random_config.scm)
    before = torch.get_rng_state()
    load_weights(network, weights["scm"], "the test")
    assert torch.equal(torch.get_rng_state(), before)
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not network.training
