"""A bundle from packages of MAXIM: whose files it holds, which network repairs what, and what is refused."""

import shutil
import subprocess

import numpy as np
import pytest
import torch
from maxim_packages import graph_model, released_constants, write_package
from random_bundle import write_random_bundle
from random_pictures import random_picture
from tower_bundle import tower_bundle

from models.autodir.assessor import prompt_of
from models.autodir.specialists import Specialists
from models.bundle import find_bundle, read_manifest, verify_bundle, write_bundle
from models.controls import Controls
from models.convert.maxim.check import check_maxim
from models.convert.maxim.conversion import convert_maxim, maxim_manifest
from models.convert.maxim.tasks import TASKS
from models.drive import restore_one
from models.errors import BundleError, ControlsError
from models.families import autodir_config, load_restorer
from models.maxim.config import MAXIMConfig
from models.restorer import Request
from models.training.core.slimming import slimmed
from models.vocabulary import CLEAN

CPU = torch.device("cpu")
SHIPPED = find_bundle("autodir-small")
REPAIRS = {key: MAXIMConfig(stages=3 if key == "deblurring" else 2) for key in TASKS}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "autodir-small"
    write_random_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Deraining with weights of zero, but a last bias of 0.1: it makes every picture brighter by 0.2 of [-1, 1]."""
    arrays = {path: np.zeros(shape, np.float32) for path, shape in released_constants(2)}
    arrays["stage_1_output_conv_0/Reshape"] += 0.1
    path = tmp_path_factory.mktemp("npm") / "renamed.tgz"
    return write_package(path, *graph_model(arrays, 4 * 2**20))


@pytest.mark.slow
def test_a_converted_network_repairs_its_degradation_and_no_other(base, package, tmp_path):
    convert_maxim([package], tmp_path / "made", base=base)
    verify_bundle(tmp_path / "made")
    manifest = read_manifest(tmp_path / "made")
    assert manifest.name == "made" and "renamed.tgz" in manifest.description
    assert "google-research/maxim" in manifest.restrictions
    restorer = load_restorer(tmp_path / "made", CPU)
    assert restorer.specialists.key_of("rain") == "deraining"
    assert restorer.specialists.key_of("haze") is None
    bright = restorer.specialists.restore("deraining", torch.full((1, 3, 50, 70), -0.5))
    torch.testing.assert_close(bright, torch.full_like(bright, -0.3), atol=1e-3, rtol=0)  # float16 on disk
    request = Request(image=random_picture(), controls=Controls(prompt=prompt_of("rain")))
    assert torch.isfinite(restore_one(restorer, request).image).all()


def small_package(path, task="deraining"):
    arrays = {
        "stage_0_input_conv_0/Reshape": np.random.default_rng(0).standard_normal(5000, np.float32)[None, None, None]
    }
    return write_package(path, *graph_model(arrays, 2**22), name=f"@upscalerjs/maxim-{task}")


@pytest.mark.parametrize(("bytes_lost", "message"), [(2000, "damaged or truncated"), (0, "no tensor for")])
def test_an_incomplete_package_is_named_and_leaves_no_bundle(base, tmp_path, bytes_lost, message):
    package = small_package(tmp_path / "short.tgz")
    package.write_bytes(package.read_bytes()[: -bytes_lost or None])
    with pytest.raises(BundleError, match=rf"short\.tgz.*{message}"):
        convert_maxim([package], tmp_path / "made", base=base)
    assert [path.name for path in tmp_path.iterdir()] == ["short.tgz"]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [(["denoising"], "no use for"), (["retouching"], "no use for"), (["dehazing-indoor"], "on request only")],
)
def test_networks_that_the_bundle_cannot_use_are_refused(base, tmp_path, tasks, message):
    packages = [small_package(tmp_path / f"{task}.tgz", task) for task in tasks]
    with pytest.raises((BundleError, ControlsError), match=message):
        convert_maxim(packages, tmp_path / "made", base=base)


def test_the_bundle_keeps_ours_where_maxim_repairs_nothing():
    made, shipped = maxim_manifest("autodir-maxim", read_manifest(SHIPPED), REPAIRS, "x"), read_manifest(SHIPPED)
    specialists = made.networks["specialists"]
    assert specialists["detail"] == shipped.networks["specialists"]["detail"]
    assert specialists["weather"]["names"] == ["snow", "raindrop"]
    assert "light" not in specialists
    looked_through = "specialist-light" in shipped.networks["clip"]["tower"]["parts"]
    assert ("specialist-light" in made.weights) == looked_through, "the assessor needs its features"
    unused = () if looked_through else shipped.weights["specialist-light"]
    assert set(made.files) == set(shipped.files) - set(unused)
    assert specialists["deblurring"]["maxim"] == {"stages": 3}
    settings = {entry.name: (entry.strength, entry.floor) for entry in made.degradations}
    ours = {entry.name: (entry.strength, entry.floor) for entry in shipped.degradations}
    for name in ("noise", "jpeg", "low-resolution", "snow", "raindrop", "clean"):
        assert settings[name] == ours[name]
    assert made.networks["loop"]["glimpsed"] > shipped.networks["loop"]["glimpsed"]
    assert "google-research/maxim" in made.credit and "Kevin Scott" in made.credit


def test_without_haze_the_guard_of_our_own_dehazing_stays():
    shipped = read_manifest(SHIPPED)
    made = maxim_manifest("m", shipped, {"deraining": MAXIMConfig()}, "x")
    assert made.networks["loop"]["blackening"] == shipped.networks["loop"]["blackening"]
    assert made.networks["specialists"]["light"] == shipped.networks["specialists"]["light"]


def test_a_replaced_specialist_stays_where_the_assessor_looks_through_it(tmp_path):
    """The assessor was trained on its features, and not on MAXIM's."""
    manifest, networks = tower_bundle()
    prefix = "visual.branches.1."
    branch = {name: value for name, value in networks["clip"].items() if name.startswith(prefix)}
    networks["specialist-weather"] = {name.removeprefix(prefix): value for name, value in branch.items()}
    smaller = slimmed(manifest, networks)
    base = write_bundle(tmp_path / "base", smaller.manifest, smaller.networks)
    made = maxim_manifest("m", base, {"deraining": MAXIMConfig()}, "x")
    assert set(made.networks["specialists"]) == {"detail", "deraining"}
    assert made.weights["specialist-weather"] == base.weights["specialist-weather"]
    assert set(made.files) == {name for names in made.weights.values() for name in names}
    alone = maxim_manifest("m", write_bundle(tmp_path / "old", *tower_bundle()), {"deraining": MAXIMConfig()}, "x")
    assert "specialist-weather" not in alone.weights, "old bundles hold copies"


@pytest.fixture(scope="module")
def shipped_assessor():
    return load_restorer(SHIPPED, CPU).assessor


@pytest.mark.parametrize(
    "prompt", ["remove the haze in this indoor photo", "Dehaze, indoors!", "fog inside a room", "the interior is hazy"]
)
def test_words_for_indoors_ask_for_haze_and_for_the_indoor_network(shipped_assessor, prompt):
    made = maxim_manifest("maxim", read_manifest(SHIPPED), REPAIRS, "x")
    bank = Specialists(autodir_config(SHIPPED, made).specialists, {})
    found = shipped_assessor.prompt_probabilities(prompt)
    label = max((name for name in found if name != CLEAN), key=lambda name: found[name])
    assert (label, bank.key_of(label, prompt), bank.key_of(label)) == ("haze", "dehazing-indoor", "dehazing-outdoor")


@pytest.mark.full
@pytest.mark.parametrize("task", ["denoising", "retouching", *TASKS])
def test_the_released_networks_answer_as_their_graphs_do(task, tmp_path, shared):
    """The oracle is TensorFlow, on real weights, which npm fetches."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, which fetches the released weights")
    fetch = [npm, "pack", "--silent", f"@upscalerjs/maxim-{task}@0.1.0"]
    fetched = subprocess.run(fetch, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    if fetched.returncode:
        pytest.skip(f"npm cannot fetch the released weights here: {fetched.stderr.strip()[-200:]}")
    rows = list(check_maxim(tmp_path / fetched.stdout.strip(), shared / "parity" / "maxim"))
    assert rows and all(row.ok for row in rows), rows
