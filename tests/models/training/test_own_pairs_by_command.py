"""Every kind of stage trains on own pairs by command: alone, with synthetic damage, with captions."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

SHARED = ("--steps", 2, "--loaders", 0, "--threads", 1)


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "models.training", *map(str, words)], capture_output=True, text=True, timeout=250
    )


def figures(out):
    """The last validation of a run."""
    return json.loads((out / "log.jsonl").read_text().splitlines()[-1])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Five pairs of a task `scratched`, 150 x 140 px."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for index in range(5):
        soft = cv2.resize(rng.random((9, 10, 3)), (150, 140), interpolation=cv2.INTER_CUBIC).clip(0, 1)
        damaged = soft.copy()
        damaged[:, 40:43] = 1
        for part, picture in (("lq", damaged), ("gt", soft)):
            path = folder / "scratched" / part / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), (255 * picture).astype(np.uint8))
    return folder


@pytest.mark.slow
def test_a_specialist_trains_on_pairs_alone_and_beside_synthetic_damage(pairs, photos, tmp_path):
    common = ("light", "--pairs", pairs, "--cache", tmp_path / "cache", "--batch", 2, "--crop", 32, *SHARED)
    done = command(*common, "--out", tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "alone").keys() >= {"scratched"}
    assert "haze" not in figures(tmp_path / "alone")
    done = command(*common, "--name", "haze", "--images", photos, "--pairs-share", 0.4, "--out", tmp_path / "mixed")
    assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "mixed").keys() >= {"haze", "haze (own pairs)", "low-light", "clean"}


@pytest.mark.slow
def test_the_stages_of_the_paper_train_on_a_new_word(pairs, photos, tmp_path):
    text = tmp_path / "text.safetensors"
    assert command("text", "--steps", 2, "--out", text).returncode == 0
    common = (
        "--pairs",
        pairs,
        "--images",
        photos,
        "--cache",
        tmp_path / "cache",
        "--text",
        text,
        "--batch",
        2,
        *SHARED,
    )
    for stage in ("air", "scm", "glance"):
        done = command(stage, *common, "--name", "scratched", "--out", tmp_path / stage)
        assert done.returncode == 0, done.stderr
        assert figures(tmp_path / stage).keys() >= {"scratched", "noise", "clean"}


@pytest.mark.slow
def test_da_clips_stages_train_on_pairs_with_captions(pairs, tmp_path):
    captions = tmp_path / "captions.tsv"
    captions.write_text("".join(f"scratched/lq/{index}.png\ta wall number {index}\n" for index in range(5)))
    common = ("--pairs", pairs, "--captions", captions, "--cache", tmp_path / "cache", *SHARED)
    assert command("daclip", *common, "--batch", 4, "--out", tmp_path / "daclip").returncode == 0
    weights = tmp_path / "daclip" / "best.safetensors"
    for stage in ("nafnet-daclip", "irsde", "etdiffir"):
        done = command(stage, *common, "--batch", 2, "--crop", 32, "--daclip", weights, "--out", tmp_path / stage)
        assert done.returncode == 0, done.stderr
        assert figures(tmp_path / stage).keys() >= {"own pairs"}


def test_a_name_without_pairs_and_a_share_out_of_range_are_refused(pairs, photos, tmp_path):
    done = command("light", "--images", photos, "--name", "haze", "--out", tmp_path / "x", *SHARED)
    assert (done.returncode, "--name without --pairs" in done.stderr) == (3, True)
    done = command("light", "--pairs", pairs, "--pairs-share", 0, "--out", tmp_path / "x", *SHARED)
    assert (done.returncode, "--pairs-share 0" in done.stderr) == (3, True)
