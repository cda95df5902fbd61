"""Two reports are compared, made from rows with known differences."""

import math

import pytest

from models.errors import ControlsError
from models.evaluation.comparison import changes_grid, changes_notes, compare, refuse_incomparable
from models.evaluation.measurements import Conditions, Restoration, Row
from models.evaluation.report import Report, make_header
from models.evaluation.summary import summarize

CONDITIONS = Conditions(bundle="fake", version="1", fingerprint="ab" * 32, device="cpu", crop_px=384, seed=0)


def row(name, auto, told=None, *, task="denoise", subset="noise 25", found="noise", expected="noise", **others):
    def run(psnr, label=found):
        return Restoration(
            scores={"psnr": psnr, "ssim": 0.5}, found={label: 0.9, "x": 0.1}, stop_reason="clean", seconds=1
        )

    runs = {"auto": run(auto), **({"told": run(told)} if told is not None else {})}
    runs |= {tool: Restoration(scores={"psnr": psnr, "ssim": 0.5}) for tool, psnr in others.items()}
    return Row(task=task, subset=subset, name=name, expected=expected, scores={"psnr": 20.0, "ssim": 0.5}, runs=runs)


def clean(name, psnr):
    return row(name, psnr, task="clean", subset="of denoise", found="clean", expected="clean")


def report(rows, **conditions):
    of = make_header(CONDITIONS.model_copy(update=conditions), "undegrade evaluate")
    return Report(head=of, summary=summarize(rows), rows=rows)


def test_a_report_compared_with_itself_shows_no_change_and_no_loss():
    same = report([row("a", 25.0, 26.0), clean("c", math.inf)])
    comparison = compare(same, same, max_loss_db=0)
    assert [change.difference_db for change in comparison.changes] == [0, 0]
    assert comparison.losses == [] and comparison.differing_conditions == ()
    assert (comparison.only_old, comparison.only_new) == (0, 0)


def test_a_subset_that_lost_more_than_the_limit_is_named_with_its_mode_and_loss():
    old = report([row("a", 25.0, 26.0), row("b", 27.0, 28.0)])
    new = report([row("a", 24.5, 26.0), row("b", 26.5, 29.0)])
    assert compare(old, new, max_loss_db=0.4).losses == ["noise 25, auto: -0.50 dB"]
    assert compare(old, new, max_loss_db=0.5).losses == []
    grid = changes_grid(compare(old, new, max_loss_db=0.4))
    assert [line[2:] for line in grid.lines] == [
        ("auto", "2", "26.00", "25.50", "-0.50", "worse"),
        ("told", "2", "27.00", "27.50", "+0.50", ""),
    ]


def test_only_photos_in_both_reports_are_compared():
    failed = Row(task="denoise", subset="noise 25", name="d", error="PhotoError: d")
    old = report([row("a", 25.0), row("b", 40.0), row("d", 40.0)])
    new = report([row("a", 25.2), row("c", 10.0), failed])
    (change,) = compare(old, new).changes
    assert (change.pictures, change.old_db, change.new_db) == (1, 25.0, 25.2)
    assert (compare(old, new).only_old, compare(old, new).only_new) == (2, 1)


def test_a_gain_in_one_subset_does_not_hide_a_loss_in_another():
    old = report([row("a", 25.0, subset="noise 15"), row("b", 25.0)])
    new = report([row("a", 24.0, subset="noise 15"), row("b", 35.0)])
    assert compare(old, new).losses == ["noise 15, auto: -1.00 dB"]


def test_a_loss_of_another_tool_is_ignored():
    assert compare(report([row("a", 25.0, tool=30.0)]), report([row("a", 25.0, tool=20.0)])).losses == []


def test_fewer_unchanged_clean_photos_are_a_loss_but_a_change_above_40_db_is_not():
    old = report([clean("a", math.inf), clean("b", math.inf)])
    assert compare(old, report([clean("a", 45.0), clean("b", 41.0)])).losses == []
    losses = compare(old, report([clean("a", 45.0), clean("b", 39.0)])).losses
    assert losses == ["unchanged clean photos: 1 instead of 2"]


def test_label_accuracy_and_differing_conditions_are_listed_below_the_table():
    old = report([row("a", 25.0), row("b", 25.0, found="rain")])
    new = report([row("a", 25.0), row("b", 25.0)], version="2", seed=7)
    lines = changes_notes(compare(old, new))
    assert "correct labels: 1 -> 2 of 2" in lines
    assert "different: version 1 -> 2" in lines
    assert any(line.startswith("different: seed") for line in lines)


def test_a_report_with_another_crop_size_or_other_photos_is_refused():
    old = report([row("a", 25.0)])
    with pytest.raises(ControlsError, match="crops of 384 px, and this run measures whole photos; use --crop 384"):
        refuse_incomparable(old, 0, [("denoise", "a")])
    with pytest.raises(ControlsError, match="none of the requested photos"):
        refuse_incomparable(old, 384, [("derain", "a")])
    refuse_incomparable(old, 384, [("denoise", "a"), ("denoise", "b")])
