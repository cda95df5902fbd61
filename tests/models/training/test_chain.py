"""Every stage of a bundle by one command: the commands, finished stages, and resumed ones."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.chain import CHAINS

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("bundle", CHAINS)
def test_each_stage_reads_files_that_earlier_stages_write(bundle, tmp_path):
    made: set[Path] = set()
    for stage in CHAINS[bundle]:
        words = stage.command(tmp_path, [Path("photos")], 1.0, 0, [])
        own = {tmp_path / f"{stage.name}.safetensors", tmp_path / stage.name}
        named = {Path(word) for word in words if word.startswith(str(tmp_path))} - own
        assert named <= made, stage.name
        made |= own | {tmp_path / stage.name / "best.safetensors"}
    assert tmp_path / bundle in made


def test_an_interrupted_stage_resumes_and_a_share_reduces_its_steps(tmp_path):
    (assessor,) = (stage for stage in CHAINS["autodir-small"] if stage.name == "assessor")
    fresh = assessor.command(tmp_path, [Path("a"), Path("b")], 0.5, 3, ["--threads", "1"])
    assert "--resume" not in fresh and fresh.count("--images") == 2
    assert fresh[fresh.index("--steps") + 1] == str(assessor.steps // 2) and fresh[fresh.index("--seed") + 1] == "3"
    (tmp_path / "assessor").mkdir()
    (tmp_path / "assessor" / "last.pt").touch()
    assert assessor.command(tmp_path, [Path("a")], 0.5, 3, [])[-1] == "--resume"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bundle", CHAINS)
def test_a_trial_makes_a_bundle_that_restores_and_a_second_call_does_nothing(bundle, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        rough = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(photos / f"{number}.png"), cv2.resize(rough, (200, 200), interpolation=cv2.INTER_CUBIC))
    runs = tmp_path / "runs"
    words = [sys.executable, "-m", "models.training", "chain", bundle, "--images", str(photos), "--out", str(runs)]
    words += ["--share", "0.00001", "--threads", "1"]
    first = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    made = runs / bundle
    restored = [sys.executable, "-m", "cli", "restore", str(photos / "0.png"), "-o", str(tmp_path)]
    restored += ["--bundle", str(made), "--prompt", "remove the noise", "--steps", "1"]
    assert subprocess.run(restored, cwd=REPOSITORY, check=False).returncode == 0
    again = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stderr.count("already finished") == len(CHAINS[bundle])
