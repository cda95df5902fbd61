"""The suite with fake restorers of known results: one returns the ground truth, one returns its input."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import REPAIRED, FakeRestorer
from PIL import Image

from models.bundle import BundleDegradation, BundleFile, Manifest
from models.controls import Controls
from models.errors import ControlsError
from models.evaluation.measurements import Conditions, Restoration, Row, RowLog, fingerprint
from models.evaluation.other_tools import ToolCommand
from models.evaluation.pairs import clean_pairs, find_pairs
from models.evaluation.suite import AUTO, TOLD, Suite
from models.pixels import to_tensor

CONDITIONS = Conditions(
    bundle="fake", version="1", fingerprint="0" * 64, device="cpu", crop_px=0, seed=0, steps=None, max_passes=None
)


def fake(label="noise", answer=None, **hooks):
    """Finds `label`, and answers every image with `answer` or, where that is None, the image itself."""
    names, kept = ("noise", "low-resolution"), answer is not None
    return FakeRestorer(
        names=names,
        degradations={label: 0.8, **{name: 0.1 for name in (*names, "clean") if name != label}},
        pass_report=replace(REPAIRED, kept=kept),
        stop_reason="clean" if kept else "did-not-help",
        result=lambda image: to_tensor(answer) if kept else image.request.image,
        **hooks,
    )


def asked(restorer):
    return [request.controls for request in restorer.begun]


class Recorder:
    """A listener that records what it receives."""

    def __init__(self):
        self.names, self.pictures = [], []

    def started(self, pair):
        self.names.append(pair.name)

    def measured(self, row, pictures):
        self.pictures.append(pictures)


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((16, 18, 3), value, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def tree(tmp_path):
    for name in ("a.png", "b.png"):
        write(tmp_path / "eval/denoise/lq" / name, 90)
        write(tmp_path / "eval/denoise/gt" / name, 100)
    write(tmp_path / "eval/shadow/lq/c.png", 90)
    write(tmp_path / "eval/shadow/gt/c.png", 100)
    write(tmp_path / "eval/snow/lq/d.png", 90)
    return tmp_path / "eval"


def run(restorer, pairs, folder, **options):
    log, notes = RowLog.open(folder, CONDITIONS), Recorder()
    Suite(restorer=restorer, controls=Controls(seed=3), crop_px=0, **options).run(pairs, log, notes)
    return log, notes


def test_a_restorer_that_knows_the_truth_is_measured_as_equal_to_it(tree, tmp_path):
    log, notes = run(fake(answer=np.full((16, 18, 3), 100, np.uint8)), find_pairs(tree, ["denoise"]), tmp_path)
    row = log.rows[0]
    assert row.scores["psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert row.runs[AUTO].scores == {"psnr": math.inf, "ssim": pytest.approx(1)}
    assert row.psnr_gain_db(AUTO) == pytest.approx(100 - 20 * math.log10(25.5))  # infinite counts as 100 dB
    assert (row.runs[AUTO].label, row.runs[AUTO].repaired, row.runs[AUTO].passes) == ("noise", ("noise",), 1)
    assert [*notes.pictures[0]] == ["input", AUTO, TOLD, "truth"]
    np.testing.assert_array_equal(notes.pictures[0][AUTO], notes.pictures[0]["truth"])


def test_a_restorer_that_does_nothing_gains_nothing(tree, tmp_path):
    log, _ = run(fake(), find_pairs(tree, ["denoise"]), tmp_path)
    assert [row.psnr_gain_db(AUTO) for row in log.rows] == [0, 0]
    assert log.rows[0].runs[AUTO].repaired == ()


def test_automatic_mode_says_nothing_of_the_task_and_told_mode_names_it(tree, tmp_path):
    restorer = fake()
    run(restorer, find_pairs(tree, ["denoise"], limit=1), tmp_path)
    assert [controls.prompt for controls in asked(restorer)] == [None, "A photo needs noise artifact reduction"]
    assert {controls.seed for controls in asked(restorer)} == {3}


def test_a_label_that_the_bundle_does_not_know_is_neither_told_nor_counted(tree, tmp_path):
    log, _ = run(fake(), find_pairs(tree, ["shadow"]), tmp_path)
    assert log.rows[0].expected is None
    assert [*log.rows[0].runs] == [AUTO]


def test_a_picture_without_truth_has_labels_and_seconds_but_no_scores(tree, tmp_path):
    log, notes = run(fake(), find_pairs(tree, ["snow"]), tmp_path)
    (row,) = log.rows
    assert row.scores == row.runs[AUTO].scores == {}
    assert row.runs[AUTO].seconds >= 0
    assert [*notes.pictures[0]] == ["input", AUTO]


def test_clean_photos_run_only_in_auto_mode_and_are_compared_with_themselves(tree, tmp_path):
    clean = clean_pairs(find_pairs(tree, ["denoise"]), limit=5)
    log, _ = run(fake("clean"), clean, tmp_path)
    (row,) = log.rows  # both truths have the same bytes
    assert row.expected == "clean" and [*row.runs] == [AUTO]
    assert row.runs[AUTO].scores["psnr"] == math.inf


def test_an_invalid_file_gives_a_row_with_an_error_and_the_run_continues(tree, tmp_path):
    (tree / "denoise/lq/a.png").write_text("<html>")
    log, notes = run(fake(), find_pairs(tree, ["denoise"]), tmp_path)
    assert [row.error is None for row in log.rows] == [False, True]
    assert "a.png" in log.rows[0].error
    assert notes.names == ["a.png", "b.png"]


def test_a_network_that_fails_on_one_picture_is_a_row_too(tree, tmp_path):
    begun = []

    def fail_once(request):
        begun.append(request)
        if torch.all(request.image < 0.5) and len(begun) == 1:
            raise RuntimeError("sizes of tensors\nmust match")

    log, _ = run(fake(at_begin=fail_once), find_pairs(tree, ["denoise"]), tmp_path)
    assert [row.error for row in log.rows] == ["RuntimeError: sizes of tensors must match", None]


def test_a_stopped_run_keeps_its_rows_and_goes_on_where_it_stopped(tree, tmp_path):
    begun = []

    def interrupt_the_third(request):
        begun.append(request)
        if len(begun) > 2:
            raise KeyboardInterrupt

    pairs = find_pairs(tree, ["denoise"])
    with pytest.raises(KeyboardInterrupt):
        run(fake(at_begin=interrupt_the_third), pairs, tmp_path / "out")
    log, notes = run(fake(), pairs, tmp_path / "out")
    assert notes.names == ["b.png"]
    assert [row.name for row in log.rows] == ["a.png", "b.png"]


def test_a_failed_photo_is_measured_again(tree, tmp_path):
    good = (tree / "denoise/lq/a.png").read_bytes()
    (tree / "denoise/lq/a.png").write_text("<html>")
    run(fake(), find_pairs(tree, ["denoise"]), tmp_path / "out")
    (tree / "denoise/lq/a.png").write_bytes(good)
    log, notes = run(fake(), find_pairs(tree, ["denoise"]), tmp_path / "out")
    assert notes.names == ["a.png"]
    assert [row.error for row in log.rows] == [None, None]


COPY = ToolCommand(name="copy", source="cp {input} {output}")
FAILING = ToolCommand(name="failing", source="false {input} {output}")


def test_a_tool_that_copies_its_input_gains_exactly_nothing_and_stands_beside_ours(tree, tmp_path):
    log, notes = run(fake(), find_pairs(tree, ["denoise"]), tmp_path / "out", other_tools=[COPY])
    assert [row.psnr_gain_db("copy") for row in log.rows] == [0, 0]
    assert [*log.rows[0].runs] == [AUTO, TOLD, "copy"]
    assert [*notes.pictures[0]] == ["input", AUTO, TOLD, "copy", "truth"]


def test_a_tool_that_fails_is_said_per_picture_and_takes_nothing_from_ours(tree, tmp_path):
    log, _ = run(fake(), find_pairs(tree, ["denoise"]), tmp_path / "out", other_tools=[FAILING, COPY])
    assert [row.error for row in log.rows] == [None, None]
    assert all("exit code 1" in row.runs["failing"].error and not row.runs["failing"].scores for row in log.rows)
    assert [row.psnr_gain_db("copy") for row in log.rows] == [0, 0]


def test_only_a_tool_that_is_new_or_failed_is_measured_in_a_later_run(tree, tmp_path):
    pairs = find_pairs(tree, ["denoise"])
    first, _ = run(fake(), pairs, tmp_path / "out", other_tools=[FAILING])
    silent = fake()
    tools = [COPY, ToolCommand(name="failing", source=COPY.source)]
    log, notes = run(silent, pairs, tmp_path / "out", other_tools=tools)
    assert asked(silent) == []
    assert [row.runs[AUTO] for row in log.rows] == [row.runs[AUTO] for row in first.rows]
    assert [row.runs["failing"].error for row in log.rows] == [None, None]
    assert [*notes.pictures[0]] == ["input", "copy", "failing", "truth"]
    assert run(silent, pairs, tmp_path / "out", other_tools=[COPY])[1].names == []


def test_a_tool_added_after_the_file_was_deleted_does_not_change_earlier_results(tree, tmp_path):
    pairs = find_pairs(tree, ["denoise"], limit=1)
    (first,) = run(fake(), pairs, tmp_path / "out")[0].rows
    pairs[0].degraded.unlink()
    log, notes = run(fake(), pairs, tmp_path / "out", other_tools=[COPY])
    (row,) = log.rows
    assert row.error is None and row.runs[AUTO] == first.runs[AUTO]
    assert "a.png" in row.runs["copy"].error and notes.pictures == [{}]


def test_a_tool_can_be_added_later_but_its_command_cannot_change(tmp_path):
    def conditions(**against):
        return CONDITIONS.model_copy(update={"against": against})

    RowLog.open(tmp_path, CONDITIONS).append(row())
    RowLog.open(tmp_path, conditions(one="1 {input} {output}"))
    log = RowLog.open(tmp_path, conditions(two="2 {input} {output}"))
    assert log.conditions.against == {"one": "1 {input} {output}", "two": "2 {input} {output}"}
    assert RowLog.open(tmp_path, CONDITIONS).conditions == log.conditions
    with pytest.raises(ControlsError, match=r"against one '1 .* instead of '3"):
        RowLog.open(tmp_path, conditions(one="3 {input} {output}"))


def row(name="a.png", psnr=30.0):
    found = {"noise": 0.6, "clean": 0.4}
    one = Restoration(
        scores={"psnr": psnr}, found=found, repaired=("noise",), passes=1, stop_reason="clean", seconds=1.5
    )
    return Row(task="denoise", subset="Nam", name=name, expected="noise", scores={"psnr": 20.0}, runs={AUTO: one})


def test_rows_are_read_back_unchanged_even_with_infinite_psnr(tmp_path):
    log = RowLog.open(tmp_path, CONDITIONS)
    rows = [row("a.png"), row("b.png", math.inf)]
    for one in rows:
        log.append(one)
    assert RowLog.open(tmp_path, CONDITIONS).rows == rows


def test_an_incomplete_last_line_is_measured_again(tmp_path):
    log = RowLog.open(tmp_path, CONDITIONS)
    log.append(row("a.png"))
    log.append(row("b.png"))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again = RowLog.open(tmp_path, CONDITIONS)
    assert [one.name for one in again.rows] == ["a.png"]
    again.append(row("b.png"))
    assert [one.name for one in RowLog.open(tmp_path, CONDITIONS).rows] == ["a.png", "b.png"]


def test_rows_of_another_bundle_are_refused_without_restart(tmp_path):
    RowLog.open(tmp_path, CONDITIONS).append(row())
    other = CONDITIONS.model_copy(update={"fingerprint": "1" * 64, "crop_px": 256})
    with pytest.raises(ControlsError, match=r"fingerprint.*crop_px 0 instead of 256"):
        RowLog.open(tmp_path, other)
    assert RowLog.open(tmp_path, other, restart=True).rows == []


def test_the_fingerprint_depends_on_weights_and_networks_but_not_on_measured_quality():
    file = BundleFile(bytes=10, sha256="a" * 64)
    manifest = Manifest(
        family="autodir",
        name="small",
        version="1",
        description="",
        license="Apache-2.0",
        degradations=(BundleDegradation(name="noise", prompt="noise", fidelity=1),),
        networks={"loop": {"steps": 4}},
        weights={"air": ("air.safetensors",)},
        files={"air.safetensors": file},
    )
    measured = manifest.model_copy(update={"quality": {"psnr": 30.0}, "version": "2"})
    retrained = manifest.model_copy(update={"files": {"air.safetensors": BundleFile(bytes=10, sha256="b" * 64)}})
    faster = manifest.model_copy(update={"networks": {"loop": {"steps": 2}}})
    assert fingerprint(manifest) == fingerprint(measured)
    assert len({fingerprint(entry) for entry in (manifest, retrained, faster)}) == 3


def test_an_invalid_line_is_refused(tmp_path):
    RowLog.open(tmp_path, CONDITIONS).append(row())
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"task": 7}\n')
    with pytest.raises(ControlsError, match="--restart"):
        RowLog.open(tmp_path, CONDITIONS)
