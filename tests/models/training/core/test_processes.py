"""Training in several processes of torchrun: the losses of one process, and clean ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.errors import TrainingError
from models.training.core.processes import Place
from models.training.data.share import Draws, Share
from tests.support import tiny_stages

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
QUICK = ("specialist", "scm", "irsde")
OTHERS = tuple(name for name in tiny_stages.STAGES if name not in QUICK)
each_stage = pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])


def started(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*TORCHRUN, *map(str, words)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process, timeout=280):
    """Returns the exit code and the output."""
    try:
        text, _ = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photos, decoded."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for index in range(3):
        soft = cv2.resize(rng.random((12, 16, 3)), (200, 160), interpolation=cv2.INTER_CUBIC)
        np.save(folder / f"{index}.npy", (255 * np.clip(soft, 0, 1)).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """Returns the folder with the runs of a tiny stage, and of those beside it, by one and by two processes."""

    def train(name):
        if not (folder / "2" / name).exists():
            names = QUICK if name in QUICK else OTHERS
            code, text = ended(started("-m", "tests.support.tiny_stages", folder, *names))
            assert code == 0, text
            for each in names:
                tiny_stages.train(each, folder, Share())
        return folder

    return train


def log(folder, processes, name):
    return [json.loads(line) for line in (folder / str(processes) / name / "log.jsonl").read_text().splitlines()]


@each_stage
def test_two_processes_have_the_losses_of_one(trained, name):
    one, two = (log(trained(name), processes, name) for processes in (1, 2))
    assert [row["step"] for row in two] == [row["step"] for row in one], "the first process alone writes the log"
    # The sums of batch normalization are added in another order, which the first steps of Adam enlarge
    tolerance = 1e-4 if name == "glance" else 1e-5
    losses = [[row["loss"] for row in rows[: tiny_stages.STEPS]] for rows in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)


@each_stage
def test_two_processes_have_the_gradients_of_one(trained, name):
    """The moments of AdamW show the size of the gradients, to which its steps are blind."""
    one, two = (
        torch.load(trained(name) / str(processes) / name / "last.pt", weights_only=True)["optimizer"]["adamw"]["state"]
        for processes in (1, 2)
    )
    assert one.keys() == two.keys()
    largest = max(float(state["exp_avg"].norm()) for state in one.values())
    for key, state in one.items():  # a bias before batch normalization has no gradient but rounding errors
        scale = max(float(state["exp_avg"].norm()), 1e-3 * largest)
        assert float((two[key]["exp_avg"] - state["exp_avg"]).norm()) < 0.01 * scale, key


@each_stage
def test_a_step_trains_all_parameters_unless_the_stage_says_otherwise(name, folder):
    """DistributedDataParallel waits for the gradient of every parameter, if `partial` does not tell it."""
    stage, _, _ = tiny_stages.built(name, folder, folder / "unused" / name)
    stage.network.train()
    stage.loss(next(stage.examples(0)), Draws(torch.Generator().manual_seed(0))).backward()
    unused = [key for key, value in stage.network.named_parameters() if value.requires_grad and value.grad is None]
    assert stage.partial or not unused


def test_the_place_of_a_process_is_what_torchrun_tells_it():
    told = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}
    assert Place.of(told) == Place(Share(rank=3, count=4), local=1)
    assert Place.of({}) == Place.of({"WORLD_SIZE": "1", "RANK": "0"}) == Place()


def test_several_processes_cannot_have_one_named_device():
    with pytest.raises(TrainingError, match="use --device cuda, and CUDA_VISIBLE_DEVICES"):
        Place(Share(count=2)).device("cuda:0")


def test_more_processes_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match="--nproc-per-node 2"):
        Place(Share(rank=2, count=3), local=2).device("auto")


def command(photos, out, *words):
    return (
        "-m", "models.training", "scm", "--images", photos, "--out", out, "--cache", out.parent / "cache",
        "--device", "cpu", "--crop", 32, *words,
    )  # fmt: skip


@pytest.mark.slow
def test_a_stopped_run_of_two_processes_is_resumed_where_it_ended(photos, tmp_path):
    out = tmp_path / "out"
    process = started(*command(photos, out, "--batch", 2, "--steps", 100_000, "--validate-every", 5))
    deadline_s = time.monotonic() + 200
    while not (out / "last.pt").exists() and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, text = ended(process)
    assert text.count("interrupted; continue with: --resume") == 1, text
    assert "closed" not in text, text
    saved = torch.load(out / "last.pt", weights_only=True)["at"]["step"]
    code, text = ended(started(*command(photos, out, "--batch", 2, "--steps", saved + 2, "--resume")))
    assert code == 0, text
    assert len(re.findall(r"best score", text)) == 1, "the first process alone speaks"
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] == saved + 2


@pytest.mark.slow
def test_a_process_that_dies_ends_the_other_and_loses_no_step(photos, tmp_path):
    out = tmp_path / "out"
    process = started(*command(photos, out, "--batch", 2, "--steps", 100_000, "--validate-every", 1e9, "--loaders", 0))
    deadline_s, second = time.monotonic() + 200, None
    while second is None and time.monotonic() < deadline_s:
        time.sleep(0.5)
        second = _training_child(process.pid, "1") if (out / "config.json").exists() else None
    assert second is not None, ended(process)
    time.sleep(5)  # some steps
    os.kill(second, signal.SIGKILL)
    code, text = ended(process)
    assert code != 0
    assert "process 0 of 2 ends, because another one has ended" in " ".join(text.split()), text
    assert torch.load(out / "last.pt", weights_only=True)["at"]["step"] > 0


def _training_child(parent, rank):
    """Returns the process with this rank among the children of torchrun."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    return None


@pytest.mark.slow
def test_errors_are_told_once(photos, tmp_path):
    code, text = ended(started(*command(photos, tmp_path / "out", "--batch", 3, "--steps", 1)))
    assert code != 0
    assert " ".join(text.split()).count("give --batch a multiple of 2") == 1, text
    code, text = ended(started("-m", "models.training", "text", "--out", tmp_path / "text.safetensors"))
    assert code != 0
    assert "text runs in one process" in " ".join(text.split()), text
