"""Never worse: the held-out photos are those of the training, pictures can be drawn again, and targets decide."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import REPAIRED, FakeRestorer
from PIL import Image

from models.pixels import floats
from models.training.data.photos import PhotoPool, decode_into, find_photos

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def never_worse():
    import never_worse

    return never_worse


@pytest.fixture
def examples(never_worse):
    import never_worse_examples

    return never_worse_examples


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """45 photos, each of one level; one file is no photo, and one is too small."""
    folder = tmp_path_factory.mktemp("photos")
    for index in range(45):
        Image.fromarray(np.full((90, 120, 3), 5 * index, np.uint8)).save(folder / f"{index:03d}.png")
    (folder / "000b.png").write_bytes(b"no photo")
    Image.fromarray(np.zeros((20, 120, 3), np.uint8)).save(folder / "000c.png")
    return folder


@pytest.fixture
def pairs(tmp_path):
    """Two noise pairs that differ by 8 levels."""
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        clean = rng.integers(40, 200, (80, 100, 3)).astype(np.uint8)
        for part, picture in (("gt", clean), ("lq", clean + np.uint8(8))):
            (tmp_path / "eval/denoise" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(tmp_path / "eval/denoise" / part / name)
    return tmp_path / "eval"


def test_the_held_out_photos_are_those_that_the_training_holds_out(examples, photos, tmp_path):
    pool = PhotoPool(decode_into(tmp_path, find_photos([photos]), 1600), validation=True)
    levels = {int(photo[0, 0, 0]) for photo in pool._photos}
    chosen = examples.held_out_photos([photos])
    assert {int(np.asarray(Image.open(path))[0, 0, 0]) for path in chosen} == levels
    assert len(chosen) == 3


def test_damaged_pictures_have_every_kind_every_mixture_and_real_pairs_in_all_turns(examples, photos, pairs):
    chosen = examples.damaged_examples([photos / "000.png"], pairs, 200, seed=0)
    assert len({example.key for example in chosen}) == len(chosen) == 200
    assert {example.kinds for example in chosen} == {
        (), *((kind,) for kind in examples.synthetic_kinds()), *examples.MIXTURES
    }  # fmt: skip
    real = {(example.pair.name, example.turns) for example in chosen if example.pair}
    assert real == {(name, turns) for name in ("a.png", "b.png") for turns in range(4)}


def test_each_photo_is_used_as_often_as_the_others(examples, photos):
    files = [photos / f"{index:03d}.png" for index in range(3)]
    sources = [example.source for example in examples.clean_examples(files, None, 30, seed=1)]
    assert [sources.count(file) for file in files] == [10, 10, 10]


def test_a_picture_is_drawn_again_to_the_bit_and_another_seed_draws_another(examples, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    sides = examples.Sides(smallest_px=64, largest_px=96)
    for example in (
        *examples.clean_examples([tmp_path / "a.png"], None, 8, seed=0),
        *examples.damaged_examples([tmp_path / "a.png"], None, 8, seed=0),
    ):
        first, again, other = (examples.draw(example, sides, seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first.degraded, again.degraded)
        assert first.place == again.place
        assert first.degraded.shape != other.degraded.shape or (first.degraded != other.degraded).any()
        assert all(64 <= side <= 96 for side in first.truth.shape[:2])


def test_a_clean_crop_at_its_own_size_is_a_turned_part_of_its_photo(examples, tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "a.png")
    turned = 0
    for example in examples.clean_examples([tmp_path / "a.png"], None, 16, seed=0):
        drawn = examples.draw(example, examples.Sides(smallest_px=64, largest_px=96), 0)
        left, top = map(int, drawn.place.split(" at ")[1].split(" ")[0].split(","))
        upright = np.rot90(drawn.degraded, -example.turns)
        window = photo[top : top + upright.shape[0], left : left + upright.shape[1]]
        turned += window.shape == upright.shape and bool((window == upright).all()) and example.turns > 0
        assert drawn.degraded is drawn.truth or (drawn.degraded == drawn.truth).all()
    assert turned >= 3  # about three quarters of half of them


def restorer(change):
    """Adds `change` levels to every picture; 0 returns the input itself."""
    return FakeRestorer(
        names=("noise",),
        degradations={"noise": 0.8, "clean": 0.2},
        pass_report=replace(REPAIRED, kept=change != 0),
        stop_reason="clean",
        result=lambda image: (
            image.request.image if change == 0 else (floats(image.request.image) + change / 127.5).clamp(-1, 1)
        ),
    )


def run(never_worse, monkeypatch, change, photos, pairs, out, *words):
    monkeypatch.setattr(never_worse, "_restorer", lambda _: restorer(change))
    sources = ["--images", str(photos), "--pairs", str(pairs), "--out", str(out)]
    return never_worse.main([*sources, "--clean", "6", "--damaged", "8", "--sides", "64", "80", *words])


@pytest.fixture
def textured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("textured")
    for index in range(2):
        pixels = np.random.default_rng(index).integers(60, 200, (120, 160, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


def test_a_bundle_that_changes_nothing_meets_every_target(never_worse, monkeypatch, textured, pairs, tmp_path):
    assert run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out") == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert {group: of["identical"] for group, of in report["clean"].items()} == {
        "held-out photographs": 6, "ground truths of the pairs": 2
    }  # fmt: skip
    assert report["damaged"]["all"]["worse"] == 0 and report["met"]


def test_a_bundle_that_adds_six_levels_misses_them_and_the_report_says_which(
    never_worse, monkeypatch, textured, pairs, tmp_path
):
    assert run(never_worse, monkeypatch, 6, textured, pairs, tmp_path / "out") == 1
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["clean"]["held-out photographs"]["below"] == 6
    assert report["clean"]["held-out photographs"]["lowest_db"] == pytest.approx(20 * np.log10(255 / 6), abs=0.1)
    assert len(report["missed"]) == 3
    page = (tmp_path / "out/report.md").read_text()
    worst = page.split("lost most")[1]
    gains = [float(line.split("|")[2].split()[0]) for line in worst.splitlines() if line.startswith("| damaged/")]
    assert gains == sorted(gains) and gains[0] < -0.3


def test_a_stopped_run_measures_only_what_is_missing(never_worse, monkeypatch, textured, pairs, tmp_path, capsys):
    run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out")
    rows = tmp_path / "out/rows.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join(lines[:-3]) + lines[-3][:20])  # cut in the middle of a row
    capsys.readouterr()
    run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out")
    assert capsys.readouterr().err.count("min left") == 3
    assert len(rows.read_text().splitlines()) == len(lines)


def test_an_interrupted_run_reports_what_is_there_and_continues(never_worse, monkeypatch, textured, pairs, tmp_path):
    measure, calls = never_worse.measure, []

    def interrupted(example, run, folder=None):
        calls.append(example.key)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return measure(example, run, folder)

    monkeypatch.setattr(never_worse, "measure", interrupted)
    assert run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out") == 130
    assert "5 of 16 pictures" in (tmp_path / "out/report.md").read_text()
    assert {key.split("/")[0] for key in calls} == {"clean", "damaged"}  # some of every group
    assert run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out") == 0
    assert len(calls) == 6 + 11


def test_results_of_another_seed_are_not_mixed(never_worse, monkeypatch, textured, pairs, tmp_path):
    run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out")
    with pytest.raises(SystemExit, match="seed"):
        run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out", "--seed", "1")


def test_a_shown_picture_is_written_with_its_result_and_truth(never_worse, monkeypatch, textured, pairs, tmp_path):
    assert run(never_worse, monkeypatch, 6, textured, pairs, tmp_path / "look", "--show", "damaged/1") == 0
    inputs, result = (np.asarray(Image.open(tmp_path / f"look/damaged-1-{n}.png")) for n in ("input", "result"))
    np.testing.assert_array_equal(result, np.minimum(inputs.astype(int) + 6, 255))
    with pytest.raises(SystemExit, match="expected a name"):
        run(never_worse, monkeypatch, 6, textured, pairs, tmp_path / "look", "--show", "damaged/99")


def test_a_failed_picture_is_named_and_misses_the_target(never_worse, monkeypatch, textured, pairs, tmp_path):
    monkeypatch.setattr(never_worse, "draw", lambda *_: (_ for _ in ()).throw(OSError("cannot read it")))
    assert run(never_worse, monkeypatch, 0, textured, pairs, tmp_path / "out") == 1
    assert "clean/0 failed: OSError: cannot read it" in (tmp_path / "out/report.md").read_text()


@pytest.mark.parametrize(
    "words", [["--sides", "10", "90"], ["--sides", "90", "80"], ["--workers", "0"], ["--clean", "-1"]]
)
def test_impossible_options_are_refused(never_worse, words, capsys):
    with pytest.raises(SystemExit) as refused:
        never_worse.parse(["--images", "photos", *words])
    assert refused.value.code == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shipped_bundle_leaves_a_few_clean_crops_alone_in_two_processes(shared, tmp_path):
    words = ["--images", shared / "train", "--clean", "4", "--damaged", "4", "--sides", "128", "160", "--workers", "2"]
    program = [sys.executable, BENCHMARKS / "never_worse.py", *words, "--out", tmp_path]
    done = subprocess.run(
        [*map(str, program)], capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["errors"] == {}
    assert report["clean"]["held-out photographs"]["pictures"] == 4
    assert report["damaged"]["all"]["pictures"] == 4
