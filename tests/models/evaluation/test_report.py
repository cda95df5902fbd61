"""Means, shares and tables of hand-made rows with known results."""

import io
import json
import math
import subprocess

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from models.errors import ControlsError
from models.evaluation.markdown import markdown_report, terminal_table
from models.evaluation.measurements import Conditions, Restoration, Row
from models.evaluation.report import commit, make_header, read_report, write_report
from models.evaluation.strips import caption, strip, write_strip
from models.evaluation.summary import summarize
from models.evaluation.tables import main_grid, metrics_grid

CONDITIONS = Conditions(bundle="fake", version="0.1", fingerprint="ab" * 32, device="cpu", crop_px=512, seed=0)


def run(psnr=None, label="noise", repaired=("noise",), seconds=1.0, stop="clean"):
    scores = {} if psnr is None else {"psnr": psnr, "ssim": psnr / 50 if math.isfinite(psnr) else 1.0}
    found = {label: 0.8, "other": 0.2}
    passes = len(repaired)
    return Restoration(scores=scores, found=found, repaired=repaired, passes=passes, stop_reason=stop, seconds=seconds)


def row(task, subset, name, expected, psnr=None, *, error=None, **runs):
    scores = {} if psnr is None else {"psnr": psnr, "ssim": 0.5}
    return Row(task=task, subset=subset, name=name, expected=expected, scores=scores, runs=runs, error=error)


ROWS = [
    row("denoise", "CBSD68 noise 25", "a", "noise", 20.0, auto=run(26.0), told=run(27.0)),
    row("denoise", "CBSD68 noise 25", "b", "noise", 22.0, auto=run(30.0, seconds=3.0), told=run(29.0)),
    row("denoise", "Nam", "c", "noise", 36.0, auto=run(33.0, label="jpeg", repaired=("jpeg", "blur")), told=run(38.0)),
    row("dehaze", "SOTS indoor", "d", "haze", 12.0, auto=run(12.0, "clean", ()), told=run(15.0, "clean", ("haze",))),
    row("underwater", "EUVP", "e", None, 15.0, auto=run(15.5, label="haze")),
    row("snow", "snow", "f", "snow", auto=run(label="snow"), told=run(label="snow")),
    row("denoise", "Nam", "g", "noise", error="PhotoError: g is no picture"),
    row("clean", "of denoise", "denoise/a", "clean", math.inf, auto=run(math.inf, "clean", ())),
    row("clean", "of dehaze", "dehaze/d", "clean", math.inf, auto=run(39.0, "noise")),
]


@pytest.fixture
def summary():
    return summarize(ROWS)


def by_name(tallies):
    return {(tally.task, tally.subset): tally for tally in tallies}


def test_a_subset_has_the_means_of_its_pairs(summary):
    tally = by_name(summary.subsets)["denoise", "CBSD68 noise 25"]
    assert (tally.pictures, tally.pairs, tally.errors) == (2, 2, 0)
    assert tally.scores["psnr"] == 21
    assert (tally.modes["auto"].scores["psnr"], tally.modes["auto"].gain_db, tally.modes["auto"].seconds) == (28, 7, 2)
    assert tally.modes["told"].gain_db == 7


def test_a_task_is_the_mean_over_photos_and_not_over_subsets(summary):
    tally = by_name(summary.tasks)["denoise", None]
    assert (tally.pictures, tally.errors) == (3, 1)
    assert tally.modes["auto"].gain_db == pytest.approx((6 + 8 - 3) / 3)
    assert tally.modes["auto"].passes == pytest.approx(4 / 3)


def test_subsets_are_sorted_by_their_numbers():
    names = ["LIVE1 q100", "LIVE1 q20", "LIVE1 q10", "CBSD68 noise 15"]
    rows = [row("t", name, name, None, 20.0, auto=run(21.0)) for name in names]
    assert [tally.subset for tally in summarize(rows).subsets] == names[::-1][:1] + names[2::-1]


def test_label_accuracy_counts_only_photos_with_a_label(summary):
    assert (summary.overall.right, summary.overall.labeled) == (
        2,
        4,
    )  # a, b correct; c, d wrong; e has no label; f no ground truth
    snow = by_name(summary.tasks)["snow", None]
    assert (snow.right, snow.labeled, snow.pairs) == (1, 1, 0)
    assert snow.modes["auto"].gain_db is None


def test_clean_photos_are_counted_separately(summary):
    clean = summary.clean
    assert (clean.pictures, clean.found_clean, clean.untouched, clean.changed_at_all) == (2, 1, 1, 1)
    assert (clean.worst_psnr, clean.mean_psnr) == (39, (100 + 39) / 2)
    assert "clean" not in {tally.task for tally in summary.tasks}


def test_the_confusion_matrix_counts_every_labeled_photo_once(summary):
    assert summary.confusion == {
        "noise": {"noise": 2, "jpeg": 1},
        "haze": {"clean": 1},
        "snow": {"snow": 1},
        "clean": {"clean": 1, "noise": 1},
    }


def test_pairs_with_a_negative_gain_are_listed_with_their_repairs(summary):
    (hurt,) = summary.hurt
    assert (hurt.name, hurt.gain_db, hurt.found, hurt.repaired) == ("c", -3, "jpeg", ("jpeg", "blur"))


def test_stop_reasons_passes_and_seconds_are_summarized(summary):
    auto = by_name(summary.tasks)["denoise", None].modes["auto"]
    assert auto.stops == {"clean": 3}
    assert auto.passes_taken == {1: 2, 2: 1}
    assert (auto.seconds, auto.slowest_s) == (pytest.approx(5 / 3), 3)


BESIDE = [
    row(
        "sr", "x4", "a", None, 20.0, auto=run(21.0), other=Restoration(scores={"psnr": 25.0, "ssim": 0.6}, seconds=4.0)
    ),
    row("sr", "x4", "b", None, 22.0, auto=run(23.0), other=Restoration(error="PhotoError: other failed on b")),
]


def test_another_tool_has_a_column_over_the_photos_it_restored():
    summary = summarize(BESIDE)
    of = summary.overall.modes["other"]
    assert (of.pairs, of.errors, of.gain_db, of.seconds, of.stops, of.passes_taken) == (1, 1, 5, 4, {}, {})
    assert summary.modes == ["auto", "other"]
    assert summary.errors == {"sr/b (other)": "PhotoError: other failed on b"}
    grid = main_grid(summary)
    line = dict(zip(grid.columns, grid.lines[0], strict=True))
    assert line["auto"] == "22.00 (+1.00) / 0.440"
    assert line["other"] == "25.00 (+5.00) / 0.600*"  # the star: over fewer photos
    assert (line["s"], line["other s"]) == ("1.0", "4.0")


def test_another_tool_is_measured_on_clean_photos(tmp_path):
    ours = run(math.inf, "clean", ())
    rows = [
        row("clean", "of sr", "a", "clean", math.inf, auto=ours, other=Restoration(scores={"psnr": 35.0, "ssim": 0.9})),
        row(
            "clean",
            "of sr",
            "b",
            "clean",
            math.inf,
            auto=ours,
            other=Restoration(scores={"psnr": math.inf, "ssim": 1.0}),
        ),
        row("clean", "of sr", "c", "clean", math.inf, auto=ours, other=Restoration(error="PhotoError: no")),
    ]
    text = markdown_report(write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate"), rows))
    assert "other: 1 of 2 within 40 dB, mean 67.50 dB." in text


LEARNED = [
    row(
        "sr",
        "x4",
        "a",
        None,
        20.0,
        auto=run(21.0).model_copy(update={"scores": {"psnr": 21.0, "ssim": 0.5, "lpips": 0.2}}),
    ),
    row("snow", "snow", "b", None, auto=run().model_copy(update={"scores": {"musiq": 150.0}})),
]


def test_learned_metrics_have_a_table_only_if_they_were_measured(tmp_path):
    without = write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate"), ROWS)
    assert metrics_grid(without) is None
    assert "FID" not in markdown_report(without)
    report = write_report(
        tmp_path, make_header(CONDITIONS, ""), LEARNED, ["fid was not measured"], {"sr": {"auto": 12.345}}
    )
    assert metrics_grid(report).lines == (
        ("snow", "musiq ↑", "1", "-", "150.0000"),  # the cap is only for PSNR
        ("sr", "lpips ↓", "1", "-", "0.2000"),
        ("all pairs", "lpips ↓", "1", "-", "0.2000"),
        ("sr", "fid ↓", "-", "-", "12.35"),
    )
    assert "## Learned metrics" in markdown_report(report) and "- fid was not measured" in markdown_report(report)


def test_a_tool_that_always_failed_has_an_empty_column():
    failing = [row("sr", "x4", "a", None, 20.0, auto=run(21.0), other=Restoration(error="PhotoError: no"))]
    grid = main_grid(summarize(failing))
    assert dict(zip(grid.columns, grid.lines[0], strict=True))["other"] == "-"


def test_a_report_is_read_back_unchanged(tmp_path):
    written = write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate"), [*ROWS, *BESIDE], ["a note"])
    assert read_report(tmp_path) == read_report(tmp_path / "report.json") == written


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rows": 3}'])
def test_an_invalid_report_is_refused_by_name(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ControlsError, match=r"report\.json is not a report\.json of"):
        read_report(tmp_path)


def test_a_report_without_rows_is_empty(tmp_path):
    report = write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate"), [])
    assert report.summary.overall.pictures == 0
    assert "No clean photos were measured." in markdown_report(report)


def test_json_and_markdown_agree_and_the_json_is_strict(tmp_path):
    write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate DIR --crop 512"), ROWS)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    gains = {tally["subset"]: tally["modes"]["auto"]["gain_db"] for tally in data["summary"]["subsets"]}
    assert (gains["CBSD68 noise 25"], gains["snow"]) == (7, None)
    assert len(data["rows"]) == len(ROWS)
    text = markdown_report(read_report(tmp_path))
    assert "| denoise | CBSD68 noise 25 | 2 | 21.00 / 0.500 | 28.00 (+7.00) / 0.560 |" in text
    assert "| **dehaze** | **SOTS indoor** |" in text  # a single subset is also the total of its task
    assert "PhotoError: g is no picture" in text


def test_the_header_states_the_origin_of_the_numbers(tmp_path):
    text = markdown_report(write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate DIR"), ROWS))
    for fact in ("cpu", "torch ", "fake 0.1", "abababababababab", "crop 512", "`undegrade evaluate DIR`", "UTC"):
        assert fact in text


def test_all_lines_of_a_markdown_table_have_the_same_number_of_cells(tmp_path):
    text = markdown_report(write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate DIR"), ROWS))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for lines in tables:
        assert {line.count("|") for line in lines} == {lines[0].count("|")}


def test_the_terminal_table_fits_a_hundred_columns_and_shows_gains(summary):
    console = Console(width=100, file=io.StringIO())
    console.print(terminal_table(summary))
    text = console.file.getvalue()
    assert "28.00 (+7.00) / 0.560" in text
    assert "all pairs" in text and "CBSD68 noise 25" in text
    assert "…" not in text


def test_a_commit_is_marked_with_changes_and_found_only_at_the_root_of_a_checkout(tmp_path):
    def git(*words):
        return subprocess.run(
            ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    assert commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    name = git("rev-parse", "--short=12", "HEAD")
    assert commit(tmp_path) == name
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{name}+changes"
    (tmp_path / "inside").mkdir()
    assert commit(tmp_path / "inside") is None


def test_a_strip_shows_the_pictures_unscaled_side_by_side():
    pictures = {name: np.full((30, 60, 3), value, np.uint8) for name, value in (("input", 50), ("auto", 200))}
    row_image = np.asarray(strip(ROWS[0], pictures))
    assert row_image.shape[1] == 60 + 4 + 60
    assert (row_image[-30:, :60] == 50).all() and (row_image[-30:, 64:] == 200).all()


def test_captions_show_scores_gain_label_and_repairs():
    assert caption(ROWS[0], "auto") == ("auto  26.00 dB  0.520  (+6.00)", "noise 80%; repaired noise; clean; 1.0 s")
    assert caption(ROWS[0], "input") == ("input  20.00 dB  0.500", "CBSD68 noise 25: noise")


def test_a_strip_is_named_by_task_and_picture(tmp_path):
    pictures = {"input": np.zeros((16, 40, 3), np.uint8)}
    path = write_strip(tmp_path / "new", ROWS[-1], pictures)
    assert path == tmp_path / "new/clean_dehaze_d.png"
    with Image.open(path) as image:
        assert image.width == 40
