"""What changed between two reports, from rows whose differences can be counted on fingers."""

import math

import pytest

from models.errors import ControlsError
from models.evaluation.comparison import changes_grid, changes_lines, compare, refuse_incomparable
from models.evaluation.measurements import Conditions, Row, Run
from models.evaluation.report import Report, head
from models.evaluation.summary import summarize

CONDITIONS = Conditions(bundle="fake", version="1", fingerprint="ab" * 32, device="cpu", crop_px=384, seed=0)


def row(name, auto, told=None, *, task="denoise", subset="noise 25", found="noise", expected="noise", **others):
    def run(psnr, label=found):
        return Run(scores={"psnr": psnr, "ssim": 0.5}, found={label: 0.9, "x": 0.1}, stop_reason="clean", seconds=1)

    runs = {"auto": run(auto), **({"told": run(told)} if told is not None else {})}
    runs |= {tool: Run(scores={"psnr": psnr, "ssim": 0.5}) for tool, psnr in others.items()}
    return Row(task=task, subset=subset, name=name, expected=expected, scores={"psnr": 20.0, "ssim": 0.5}, runs=runs)


def clean(name, psnr):
    return row(name, psnr, task="clean", subset="of denoise", found="clean", expected="clean")


def report(rows, **conditions):
    of = head(CONDITIONS.model_copy(update=conditions), "undegrade evaluate")
    return Report(head=of, summary=summarize(rows), rows=rows)


def test_a_report_against_itself_changes_nothing_and_loses_nothing():
    one = report([row("a", 25.0, 26.0), clean("c", math.inf)])
    comparison = compare(one, one, max_loss_db=0)
    assert [change.difference_db for change in comparison.changes] == [0, 0]
    assert comparison.losses == [] and comparison.others == ()
    assert (comparison.only_old, comparison.only_new) == (0, 0)


def test_a_subset_that_lost_more_than_allowed_is_named_with_its_mode_and_loss():
    old = report([row("a", 25.0, 26.0), row("b", 27.0, 28.0)])
    new = report([row("a", 24.5, 26.0), row("b", 26.5, 29.0)])
    assert compare(old, new, max_loss_db=0.4).losses == ["noise 25, auto: -0.50 dB"]
    assert compare(old, new, max_loss_db=0.5).losses == []
    grid = changes_grid(compare(old, new, max_loss_db=0.4))
    assert [line[2:] for line in grid.lines] == [
        ("auto", "2", "26.00", "25.50", "-0.50", "worse"),
        ("told", "2", "27.00", "27.50", "+0.50", ""),
    ]


def test_only_pictures_that_both_measured_count():
    failed = Row(task="denoise", subset="noise 25", name="d", error="PhotoError: d")
    old = report([row("a", 25.0), row("b", 40.0), row("d", 40.0)])
    new = report([row("a", 25.2), row("c", 10.0), failed])
    (change,) = compare(old, new).changes
    assert (change.pictures, change.old_db, change.new_db) == (1, 25.0, 25.2)
    assert (compare(old, new).only_old, compare(old, new).only_new) == (2, 1)


def test_a_subset_that_gained_does_not_hide_one_that_lost():
    old = report([row("a", 25.0, subset="noise 15"), row("b", 25.0)])
    new = report([row("a", 24.0, subset="noise 15"), row("b", 35.0)])
    assert compare(old, new).losses == ["noise 15, auto: -1.00 dB"]


def test_another_tools_loss_is_not_ours():
    assert compare(report([row("a", 25.0, tool=30.0)]), report([row("a", 25.0, tool=20.0)])).losses == []


def test_clean_photographs_lose_when_fewer_are_left_alone_but_not_by_a_hair():
    old = report([clean("a", math.inf), clean("b", math.inf)])
    assert compare(old, report([clean("a", 45.0), clean("b", 41.0)])).losses == []
    said = compare(old, report([clean("a", 45.0), clean("b", 39.0)])).losses
    assert said == ["clean photographs left alone: 1 instead of 2"]


def test_labels_and_what_else_differs_are_told_beside_the_table():
    old = report([row("a", 25.0), row("b", 25.0, found="rain")])
    new = report([row("a", 25.0), row("b", 25.0)], version="2", seed=7)
    lines = changes_lines(compare(old, new))
    assert "labels right: 1 -> 2 of 2" in lines
    assert "not the same: version 1 -> 2" in lines
    assert any(line.startswith("not the same: seed") for line in lines)


def test_other_crops_and_other_pictures_are_refused_before_anything_is_measured():
    old = report([row("a", 25.0)])
    with pytest.raises(ControlsError, match="crops of 384 px and this run of whole pictures; give --crop 384"):
        refuse_incomparable(old, 0, [("denoise", "a")])
    with pytest.raises(ControlsError, match="none of the pictures"):
        refuse_incomparable(old, 384, [("derain", "a")])
    refuse_incomparable(old, 384, [("denoise", "a"), ("denoise", "b")])
