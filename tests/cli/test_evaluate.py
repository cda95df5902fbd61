"""`undegrade evaluate` from folder to report, with an untrained bundle: its numbers say nothing, the way is real."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from models.air import AIR
from models.assessor import Assessor
from models.bundle import write_bundle
from models.nafnet import NAFNet
from models.training import small
from models.training.package import manifest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bundles") / "untrained"
    with torch.random.fork_rng():
        networks = {"clip": Assessor(small.CLIP, small.NAMES).clip, "air": AIR(small.AIR), "scm": NAFNet(small.SCM)}
    write_bundle(folder, manifest("0"), {name: network.state_dict() for name, network in networks.items()})
    return folder


@pytest.fixture
def tree(tmp_path):
    for kind, spread in (("lq", 60), ("gt", 5)):
        folder = tmp_path / "eval/denoise" / kind
        folder.mkdir(parents=True)
        for seed in range(2):
            grain = np.random.default_rng(seed).normal(0, spread, (48, 40, 3))
            Image.fromarray(np.clip(128 + grain, 0, 255).astype(np.uint8)).save(folder / f"nam_{seed}.png")
    return tmp_path / "eval"


def invoke(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def test_a_run_leaves_rows_reports_and_strips_and_shows_the_table(tree, bundle, tmp_path):
    out, strips = tmp_path / "out", tmp_path / "strips"
    result = invoke(tree, "--bundle", bundle, "--out", out, "--clean", 1, "--steps", 1, "--pictures", strips)
    assert result.exit_code == 0, result.output
    assert "Nam (camera noise)" in result.stdout and "all pairs" in result.stdout
    report = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["nam_0.png", "nam_1.png", "denoise/nam_0.png"]
    assert all(row["runs"]["told"]["stop_reason"] == "prompt-done" for row in report["rows"][:2])
    assert sorted(path.name for path in strips.iterdir()) == [
        "clean_denoise_nam_0.png",
        "denoise_nam_0.png",
        "denoise_nam_1.png",
    ]


def test_a_second_run_measures_only_what_is_missing_and_other_conditions_are_refused(tree, bundle, tmp_path):
    common = (tree, "--bundle", bundle, "--out", tmp_path / "out", "--clean", 0, "--steps", 1, "--no-told")
    assert invoke(*common, "--limit", 1).exit_code == 0
    second = invoke(*common)
    assert second.exit_code == 0
    assert "nam_1.png" in second.stderr and "nam_0.png" not in second.stderr
    refused = invoke(*common, "--crop", 16)
    assert refused.exit_code == 2
    assert "crop_px 512 instead of 16" in refused.stderr and "--restart" in refused.stderr


def test_a_bad_file_fails_alone_and_the_exit_code_says_that_some_failed(tree, bundle, tmp_path):
    (tree / "denoise/lq/nam_0.png").write_text("<html>")
    out = tmp_path / "out"
    result = invoke(tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told")
    assert result.exit_code == 1
    assert "denoise/nam_0.png: PhotoError" in result.stderr
    assert [row["error"] is None for row in json.loads((out / "report.json").read_text())["rows"]] == [False, True]


def test_a_folder_of_another_layout_is_a_usage_error_in_one_sentence(tmp_path):
    result = invoke(tmp_path)
    assert result.exit_code == 2
    assert "TASK/lq/NAME" in result.stderr and "Traceback" not in result.stderr


def test_a_bundle_that_is_not_there_is_a_model_error(tree):
    assert invoke(tree, "--bundle", tree / "nowhere").exit_code == 3
