"""Examinations of rows with known figures: grids, turned photos, mixtures, tiles, and their places in reports."""

import pytest

from models.evaluation.album import Album
from models.evaluation.derived import MIXED, TURNED, turned_name
from models.evaluation.examination_tables import sections
from models.evaluation.examinations import Examinations, examine, growth
from models.evaluation.html_report import html_report
from models.evaluation.markdown import markdown_report
from models.evaluation.measurements import AUTO, Conditions, Restoration, Row
from models.evaluation.report import make_header, write_report

CONDITIONS = Conditions(bundle="fake", version="1", fingerprint="0" * 64, device="cpu", crop_px=0, seed=0)


def row(name="a.png", task="dehaze", before=20.0, after=25.0, label="haze", expected="haze", **values):
    of = {key: values.pop(key) for key in ("drift", "seam") if key in values}
    run = Restoration(scores={"psnr": after, "ssim": 0.9}, found={label: 0.9}, passes=1, stop_reason="clean",
                      peak=values.pop("result_peak", 2.0), **of)  # fmt: skip
    runs = {AUTO: run, **values.pop("runs", {})}
    subset = values.pop("subset", task)
    scores = {"psnr": before, "ssim": 0.8}
    return Row(task=task, subset=subset, name=name, expected=expected, scores=scores, runs=runs, **values)


def turned(name, angle, **values):
    return row(turned_name("dehaze", name, angle // 90), TURNED, **values)


def mixture(index, single, auto, kinds="rain + noise"):
    runs = {
        f"only {kind}": Restoration(scores={"psnr": db, "ssim": 0.5})
        for kind, db in zip(kinds.split(" + "), single, strict=True)
    }
    return row(f"{kinds}/{index}", MIXED, after=auto, expected=None, subset=kinds, runs=runs)


def test_growth_is_relative_to_the_input_the_truth_or_a_photograph():
    assert growth(row(peak=10.0, truth_peak=5.0, result_peak=30.0)) == 3
    assert growth(row(peak=5.0, truth_peak=10.0, result_peak=30.0)) == 3
    assert growth(row(peak=1.0, result_peak=30.0)) == 15
    assert growth(row(peak=None, result_peak=30.0)) is None


def test_photos_with_a_grid_are_named_worst_first():
    rows = [
        row(name, peak=2.0, truth_peak=4.0, result_peak=peak)
        for name, peak in [("a", 8.0), ("b", 16.0), ("c", 40.0)]
    ]  # fmt: skip
    (tally,) = examine(rows).grids
    assert (tally.before, tally.truth, tally.largest_growth) == (2, 4, 10)
    assert tally.with_grid == ("c (10.0)", "b (4.0)")


def test_a_turned_photo_is_compared_with_itself_upright():
    rows = [row("a.png"), row("b.png"), turned("a.png", 90, after=24.0, label="noise"), turned("a.png", 180)]
    ninety, half = examine(rows).turns
    assert (ninety.turns, ninety.pictures, ninety.right_upright, ninety.right) == (1, 1, 1, 0)
    assert (ninety.gain_upright_db, ninety.gain_db) == (5, 4) and ninety.missed
    assert ninety.worse == ("a.png (-1.0 dB)",)
    assert (half.turns, half.gain_db) == (2, 5) and not half.missed


@pytest.mark.parametrize(("after", "missed"), [(24.8, False), (24.6, True), (25.4, True)])
def test_the_goal_of_turned_photos_is_three_tenths_of_a_decibel_up_or_down(after, missed):
    (tally,) = examine([row("a.png"), turned("a.png", 270, after=after)]).turns
    assert tally.missed is missed


def test_the_automatic_mode_is_compared_with_the_better_single_repair_of_each_photo():
    rows = [
        mixture(0, (21.0, 23.0), 24.0),
        mixture(1, (26.0, 22.0), 25.0),
        mixture(0, (20.0, 20.0), 23.0, "snow + jpeg"),
    ]
    first, second, everything = examine(rows).mixtures
    assert (first.kinds, first.single_db, first.auto_db) == ("rain + noise", 24.5, 24.5)
    assert (second.single_db, second.auto_db) == (20, 23)
    assert everything.auto_db - everything.single_db == pytest.approx(1.0)


def test_tiles_that_drift_are_named():
    (tally,) = examine([row("a", drift=2.0, seam=1.0), row("b", drift=19.0, seam=0.5)]).tiles
    assert (tally.drift, tally.seam, tally.missed) == (19, 1, ("b (19.0)",))


def test_failed_rows_and_rows_of_earlier_versions_examine_nothing():
    failed = Row(task="dehaze", subset="dehaze", name="a", error="PhotoError: missing")
    assert examine([failed]) == Examinations()
    earlier = '{"task":"t","subset":"t","name":"n","runs":{"auto":{"scores":{},"found":{"haze":1.0}}}}'
    assert examine([Row.model_validate_json(earlier)]) == Examinations()
    assert list(sections(Examinations())) == []


def test_derived_rows_are_in_sections_and_not_in_the_totals(tmp_path):
    rows = [row("a.png", peak=2.0, result_peak=40.0), turned("a.png", 90, after=0.0), mixture(0, (21.0, 23.0), 24.0)]
    failed = Row(task=TURNED, subset="dehaze 90°", name="dehaze/b.png@90", error="PhotoError: missing")
    report = write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate"), [*rows, failed])
    assert report.summary.overall.pictures == 1
    assert report.summary.overall.modes[AUTO].gain_db == 5
    assert report.summary.errors == {"turned/dehaze/b.png@90": "PhotoError: missing"}
    page, text = html_report(report, Album(tmp_path)), markdown_report(report)
    for section in sections(report.examinations):
        assert f"## {section.title}" in text and f"<h2>{section.title}</h2>" in page
    assert len(list(sections(report.examinations))) == 3
    assert "| dehaze | 1 | 2.0 | 40.0 | - | 20.0 | 1 | a.png (20.0) |" in text


def test_the_worst_losses_come_before_everything_but_the_main_table(tmp_path):
    rows = [row("a.png", before=25.0, after=20.0), row("b.png", before=25.0, after=24.0)]
    text = markdown_report(write_report(tmp_path, make_header(CONDITIONS, "undegrade evaluate"), rows))
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles[0] == "## Worst losses: pairs with a negative PSNR gain in auto mode"
    assert text.index("dehaze/a.png | -5.00") < text.index("dehaze/b.png | -1.00")
