"""The suite with fake restorers of known results: one returns the ground truth, one returns its input."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from models.bundle import BundleDegradation, BundleFile, Manifest
from models.errors import ControlsError
from models.evaluation.measurements import Conditions, Restoration, Row, RowLog, fingerprint
from models.evaluation.other_tools import ToolCommand
from models.evaluation.pairs import clean_pairs, find_pairs
from models.evaluation.suite import AUTO, TOLD, Suite
from models.pixels import to_tensor
from models.restorer import Controls, PassReport, Report, Restored

CONDITIONS = Conditions(
    bundle="fake", version="1", fingerprint="0" * 64, device="cpu", crop_px=0, seed=0, steps=None, max_passes=None
)


class FakeRestorer:
    """Finds `label`, and answers every image with `answer` or, where that is None, the image itself."""

    names = ("noise", "low-resolution")

    def __init__(self, label="noise", answer=None):
        self.label, self.answer, self.asked = label, answer, []

    def assess(self, images):
        raise AssertionError("the suite reads the report's assessment")

    def begin(self, requests):
        self.asked += [request.controls for request in requests]
        return [self._restored(request) for request in requests]

    def _restored(self, request):
        kept = self.answer is not None
        entry = PassReport(
            by="diffusion",
            label="noise",
            source="auto",
            probability_before=0.7,
            probability_after=0.1,
            kept=kept,
            seconds=0.0,
        )
        others = {name: 0.1 for name in (*self.names, "clean") if name != self.label}
        report = Report(
            degradations={self.label: 0.8, **others},
            passes=(entry,),
            stop_reason="clean" if kept else "did-not-help",
            seed=0,
            steps=4,
        )
        return Restored(image=to_tensor(self.answer) if kept else request.image, report=report)

    def step(self, tracks):
        raise AssertionError("nothing was begun")

    def finish(self, tracks):
        raise AssertionError("nothing was begun")


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


def test_a_restorer_that_returns_the_ground_truth_has_an_infinite_psnr(tree, tmp_path):
    log, notes = run(FakeRestorer(answer=np.full((16, 18, 3), 100, np.uint8)), find_pairs(tree, ["denoise"]), tmp_path)
    row = log.rows[0]
    assert row.scores["psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert row.runs[AUTO].scores == {"psnr": math.inf, "ssim": pytest.approx(1)}
    assert row.psnr_gain_db(AUTO) == pytest.approx(100 - 20 * math.log10(25.5))  # infinite counts as 100 dB
    assert (row.runs[AUTO].label, row.runs[AUTO].repaired, row.runs[AUTO].passes) == ("noise", ("noise",), 1)
    assert [*notes.pictures[0]] == ["input", AUTO, TOLD, "truth"]
    np.testing.assert_array_equal(notes.pictures[0][AUTO], notes.pictures[0]["truth"])


def test_a_restorer_that_returns_its_input_has_no_gain(tree, tmp_path):
    log, _ = run(FakeRestorer(), find_pairs(tree, ["denoise"]), tmp_path)
    assert [row.psnr_gain_db(AUTO) for row in log.rows] == [0, 0]
    assert log.rows[0].runs[AUTO].repaired == ()


def test_auto_mode_has_no_prompt_and_told_mode_has_the_prompt_of_the_label(tree, tmp_path):
    restorer = FakeRestorer()
    run(restorer, find_pairs(tree, ["denoise"], limit=1), tmp_path)
    assert [controls.prompt for controls in restorer.asked] == [None, "A photo needs noise artifact reduction"]
    assert {controls.seed for controls in restorer.asked} == {3}


def test_a_label_unknown_to_the_bundle_is_neither_prompted_nor_counted(tree, tmp_path):
    log, _ = run(FakeRestorer(), find_pairs(tree, ["shadow"]), tmp_path)
    assert log.rows[0].expected is None
    assert [*log.rows[0].runs] == [AUTO]


def test_a_photo_without_ground_truth_has_labels_and_seconds_but_no_scores(tree, tmp_path):
    log, notes = run(FakeRestorer(), find_pairs(tree, ["snow"]), tmp_path)
    (row,) = log.rows
    assert row.scores == row.runs[AUTO].scores == {}
    assert row.runs[AUTO].seconds >= 0
    assert [*notes.pictures[0]] == ["input", AUTO]


def test_clean_photos_run_only_in_auto_mode_and_are_compared_with_themselves(tree, tmp_path):
    clean = clean_pairs(find_pairs(tree, ["denoise"]), limit=5)
    log, _ = run(FakeRestorer("clean"), clean, tmp_path)
    (row,) = log.rows  # both ground truths have the same bytes
    assert row.expected == "clean" and [*row.runs] == [AUTO]
    assert row.runs[AUTO].scores["psnr"] == math.inf


def test_an_invalid_file_gives_a_row_with_an_error_and_the_run_continues(tree, tmp_path):
    (tree / "denoise/lq/a.png").write_text("<html>")
    log, notes = run(FakeRestorer(), find_pairs(tree, ["denoise"]), tmp_path)
    assert [row.error is None for row in log.rows] == [False, True]
    assert "a.png" in log.rows[0].error
    assert notes.names == ["a.png", "b.png"]


def test_a_network_error_on_one_photo_gives_a_row_with_an_error(tree, tmp_path):
    class Failing(FakeRestorer):
        def begin(self, requests):
            if torch.all(requests[0].image < 0.5) and len(self.asked) < 1:
                self.asked.append(None)
                raise RuntimeError("sizes of tensors\nmust match")
            return super().begin(requests)

    log, _ = run(Failing(), find_pairs(tree, ["denoise"]), tmp_path)
    assert [row.error for row in log.rows] == ["RuntimeError: sizes of tensors must match", None]


def test_a_stopped_run_keeps_its_rows_and_continues(tree, tmp_path):
    class Interrupted(FakeRestorer):
        def begin(self, requests):
            if len(self.asked) >= 2:
                raise KeyboardInterrupt
            return super().begin(requests)

    pairs = find_pairs(tree, ["denoise"])
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), pairs, tmp_path / "out")
    log, notes = run(FakeRestorer(), pairs, tmp_path / "out")
    assert notes.names == ["b.png"]
    assert [row.name for row in log.rows] == ["a.png", "b.png"]


def test_a_failed_photo_is_measured_again(tree, tmp_path):
    good = (tree / "denoise/lq/a.png").read_bytes()
    (tree / "denoise/lq/a.png").write_text("<html>")
    run(FakeRestorer(), find_pairs(tree, ["denoise"]), tmp_path / "out")
    (tree / "denoise/lq/a.png").write_bytes(good)
    log, notes = run(FakeRestorer(), find_pairs(tree, ["denoise"]), tmp_path / "out")
    assert notes.names == ["a.png"]
    assert [row.error for row in log.rows] == [None, None]


COPY = ToolCommand(name="copy", source="cp {input} {output}")
FAILING = ToolCommand(name="failing", source="false {input} {output}")


def test_a_tool_that_copies_its_input_has_a_gain_of_zero_beside_our_modes(tree, tmp_path):
    log, notes = run(FakeRestorer(), find_pairs(tree, ["denoise"]), tmp_path / "out", other_tools=[COPY])
    assert [row.psnr_gain_db("copy") for row in log.rows] == [0, 0]
    assert [*log.rows[0].runs] == [AUTO, TOLD, "copy"]
    assert [*notes.pictures[0]] == ["input", AUTO, TOLD, "copy", "truth"]


def test_a_failing_tool_has_an_error_per_photo_and_does_not_affect_our_modes(tree, tmp_path):
    log, _ = run(FakeRestorer(), find_pairs(tree, ["denoise"]), tmp_path / "out", other_tools=[FAILING, COPY])
    assert [row.error for row in log.rows] == [None, None]
    assert all("exit code 1" in row.runs["failing"].error and not row.runs["failing"].scores for row in log.rows)
    assert [row.psnr_gain_db("copy") for row in log.rows] == [0, 0]


def test_only_a_tool_that_is_new_or_failed_is_measured_in_a_later_run(tree, tmp_path):
    pairs = find_pairs(tree, ["denoise"])
    first, _ = run(FakeRestorer(), pairs, tmp_path / "out", other_tools=[FAILING])
    silent = FakeRestorer()
    log, notes = run(
        silent, pairs, tmp_path / "out", other_tools=[COPY, ToolCommand(name="failing", source=COPY.source)]
    )
    assert silent.asked == []
    assert [row.runs[AUTO] for row in log.rows] == [row.runs[AUTO] for row in first.rows]
    assert [row.runs["failing"].error for row in log.rows] == [None, None]
    assert [*notes.pictures[0]] == ["input", "copy", "failing", "truth"]
    assert run(silent, pairs, tmp_path / "out", other_tools=[COPY])[1].names == []


def test_a_tool_added_after_the_file_was_deleted_does_not_change_earlier_results(tree, tmp_path):
    pairs = find_pairs(tree, ["denoise"], limit=1)
    (first,) = run(FakeRestorer(), pairs, tmp_path / "out")[0].rows
    pairs[0].degraded.unlink()
    log, notes = run(FakeRestorer(), pairs, tmp_path / "out", other_tools=[COPY])
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
