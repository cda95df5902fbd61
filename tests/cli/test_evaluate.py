"""`undegrade evaluate` from folder to report, with an untrained bundle."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from models.autodir.air import AIR
from models.autodir.assessor import Assessor
from models.bundle import write_bundle
from models.networks.nafnet import NAFNet
from models.training.autodir import autodir_small
from models.training.autodir.package import manifest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bundles") / "untrained"
    with torch.random.fork_rng():
        networks = {
            "clip": Assessor(autodir_small.CLIP, autodir_small.NAMES).clip,
            "air": AIR(autodir_small.AIR),
            "scm": NAFNet(autodir_small.SCM),
        }
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


def test_a_run_writes_rows_reports_and_strips_and_prints_the_table(tree, bundle, tmp_path):
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


def test_a_second_run_measures_only_missing_pairs_and_refuses_other_conditions(tree, bundle, tmp_path):
    common = (tree, "--bundle", bundle, "--out", tmp_path / "out", "--clean", 0, "--steps", 1, "--no-told")
    assert invoke(*common, "--limit", 1).exit_code == 0
    second = invoke(*common)
    assert second.exit_code == 0
    assert "nam_1.png" in second.stderr and "nam_0.png" not in second.stderr
    refused = invoke(*common, "--crop", 16)
    assert refused.exit_code == 2
    assert "crop_px 512 instead of 16" in refused.stderr and "--restart" in refused.stderr


def test_a_bad_file_is_reported_and_the_others_are_measured(tree, bundle, tmp_path):
    (tree / "denoise/lq/nam_0.png").write_text("<html>")
    out = tmp_path / "out"
    result = invoke(tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told")
    assert result.exit_code == 1
    assert "denoise/nam_0.png: PhotoError" in result.stderr
    assert [row["error"] is None for row in json.loads((out / "report.json").read_text())["rows"]] == [False, True]


def test_another_tool_is_in_table_report_page_and_strip(tree, bundle, tmp_path):
    out, strips = tmp_path / "out", tmp_path / "strips"
    common = (tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told", "--pictures", strips)
    shutil.copytree(tree / "denoise/gt", tmp_path / "ideal")
    result = invoke(*common, "--against", "copy=cp {input} {output}", "--against", f"ideal={tmp_path / 'ideal'}")
    assert result.exit_code == 0, result.output
    assert "copy s" in result.stdout and "…" not in result.stdout
    report = json.loads((out / "report.json").read_text())
    modes = report["summary"]["overall"]["modes"]
    assert modes["copy"]["gain_db"] == 0 and modes["copy"]["seconds"] > 0
    assert modes["ideal"]["scores"] == {"psnr": 100.0, "ssim": pytest.approx(1)} and modes["ideal"]["seconds"] is None
    assert report["head"]["conditions"]["against"]["copy"] == "cp {input} {output}"
    assert all("cp {input} {output}" in (out / name).read_text() for name in ("report.md", "report.html"))
    assert (out / "report.html").read_text().count('src="data:image/webp') == 2 * 5  # input, auto, two tools, truth
    with Image.open(strips / "denoise_nam_0.png") as strip:
        assert strip.width == 5 * (40 + 4) - 4


def test_a_failing_tool_is_reported_per_image_and_the_bundle_is_still_measured(tree, bundle, tmp_path):
    out = tmp_path / "out"
    common = (tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told")
    result = invoke(*common, "--against", "broken=sh -c 'echo no license >&2; exit 4' {input} {output}")
    assert result.exit_code == 1
    assert "2 failed" in result.stderr
    errors = json.loads((out / "report.json").read_text())["summary"]["errors"]
    assert [*errors] == ["denoise/nam_0.png (broken)", "denoise/nam_1.png (broken)"]
    assert all("exit code 4: no license" in said for said in errors.values())
    again = invoke(*common)
    assert "nam_0.png: auto" not in again.stderr  # our results are not measured again


@pytest.mark.parametrize(
    ("word", "said"),
    [("nowhere", "neither a folder"), ("x=cp {input}", "{output}"), ("told=cp {input} {output}", "told")],
)
def test_an_invalid_tool_is_a_usage_error(tree, bundle, word, said):
    result = invoke(tree, "--bundle", bundle, "--against", word)
    assert result.exit_code == 2
    assert said in result.stderr and "Traceback" not in result.stderr


def test_a_folder_of_other_images_is_refused_before_the_run(tree, bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    result = invoke(tree, "--bundle", bundle, "--out", tmp_path / "out", "--against", tmp_path / "empty")
    assert result.exit_code == 2
    assert "none of the 2 requested photos" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_loss_against_an_earlier_report_gives_exit_code_1_and_a_dated_report(tree, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["undegrade", "evaluate", "a folder"])  # else those of pytest
    out, results = tmp_path / "out", tmp_path / "results"
    results.mkdir()
    common = (tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told")
    assert invoke(*common).exit_code == 0
    better = json.loads((out / "report.json").read_text())
    equal = invoke(*common, "--compare", out)
    assert equal.exit_code == 0 and "+0.00" in equal.stdout
    for row in better["rows"]:
        row["runs"]["auto"]["scores"]["psnr"] += 0.5
    (tmp_path / "better.json").write_text(json.dumps(better))
    worse = invoke(*common, "--compare", tmp_path / "better.json", "--table", results)
    assert worse.exit_code == 1
    assert "Nam (camera noise), auto: -0.50 dB" in worse.stderr and "-0.50" in worse.stdout
    assert invoke(*common, "--compare", tmp_path / "better.json", "--max-loss", 0.6).exit_code == 0
    (dated,) = results.iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_cpu_evaluation\.md", dated.name)
    assert all(
        fact in dated.read_text()
        for fact in ("# Evaluation of autodir-small", "`undegrade evaluate 'a folder'`", "**worse**")
    )


def test_a_report_of_other_crops_or_of_another_kind_is_refused(tree, bundle, tmp_path):
    common = (tree, "--bundle", bundle, "--out", tmp_path / "out", "--clean", 0, "--steps", 1, "--no-told")
    assert invoke(*common, "--crop", 16).exit_code == 0
    other = invoke(*common, "--compare", tmp_path / "out")
    assert other.exit_code == 2 and "--crop 16" in other.stderr
    (tmp_path / "photo.json").write_text("{}")
    assert invoke(*common, "--compare", tmp_path / "photo.json").exit_code == 2
    assert invoke(*common, "--compare", tmp_path / "nowhere.json").exit_code == 2


def test_a_metric_without_weights_causes_a_warning_and_has_no_value(tree, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    out = tmp_path / "out"
    words = (tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told", "--metrics", "lpips,fid")
    result = invoke(*words)
    assert result.exit_code == 0
    assert "alexnet-owt-7be5be79.pth in" in result.stderr
    report = json.loads((out / "report.json").read_text())
    assert [note.split()[0] for note in report["notes"]] == ["lpips", "fid"]
    assert [*report["rows"][0]["scores"]] == ["psnr", "ssim"] and report["fid"] == {}
    assert "lpips was not measured" in (out / "report.html").read_text()
    assert invoke(*words[:-1], "sharpness").exit_code == 2


@pytest.mark.slow
def test_ctrl_c_leaves_a_report_of_the_finished_pairs(tree, bundle, tmp_path):
    """A real process and a real signal, while it waits for a tool in a session of its own."""
    started, out = tmp_path / "started", tmp_path / "out"
    slow = f"slow=sh -c 'cp {{input}} {{output}}; case {{input}} in *nam_1*) touch {started}; sleep 100;; esac'"
    words = [tree, "--bundle", bundle, "--out", out, "--clean", 0, "--steps", 1, "--no-told", "--against", slow]
    program = "from cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "evaluate", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    with process:
        while not started.exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; 1 of 2 measured" in said
    rows = json.loads((out / "report.json").read_text())["rows"]
    assert [(row["name"], [*row["runs"]]) for row in rows] == [("nam_0.png", ["auto", "slow"])]
    assert "nam_0.png" in (out / "report.html").read_text()


def test_a_folder_of_another_layout_is_a_usage_error(tmp_path):
    result = invoke(tmp_path)
    assert result.exit_code == 2
    assert "TASK/lq/NAME" in result.stderr and "Traceback" not in result.stderr


def test_a_missing_bundle_is_a_model_error(tree):
    assert invoke(tree, "--bundle", tree / "nowhere").exit_code == 3


def test_everything_is_examined_on_request_and_the_totals_stay_those_of_the_pairs(tree, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("models.evaluation.derived.MIXTURES", (("rain", "noise"), ("haze", "jpeg")))
    out = tmp_path / "out"
    words = ("--bundle", bundle, "--out", out, "--clean", 0, "--limit", 1, "--steps", 1, "--no-told")
    result = invoke(tree, *words, "--turns", "--mixtures", 1, "--tiles", 64)
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["summary"]["overall"]["pictures"] == 1
    assert [row["task"] for row in report["rows"]] == ["denoise", *["mixtures"] * 2, *["turned"] * 3]
    found = report["examinations"]
    assert [tally["turns"] for tally in found["turns"]] == [1, 2, 3]
    assert len(found["mixtures"]) == 3 and found["mixtures"][-1]["kinds"] == "all"
    assert found["tiles"][0]["pictures"] == 1
    again = invoke(tree, *words, "--turns", "--mixtures", 1, "--tiles", 72)
    assert again.exit_code == 2 and "tile_px" in again.stderr


@pytest.mark.parametrize("words", [("--tiles", 10), ("--mixtures", -1)])
def test_impossible_examinations_are_refused(tree, words):
    result = invoke(tree, *words)
    assert result.exit_code == 2 and "greater than or equal" in result.stderr


def test_mixtures_without_opencv_are_refused_before_the_run(tree, bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "models.training.data.degradations", None)  # an import fails
    result = invoke(tree, "--bundle", bundle, "--out", tmp_path / "out", "--mixtures", 1)
    assert result.exit_code == 2 and "undegrade[training]" in result.stderr
    assert not (tmp_path / "out").exists()
