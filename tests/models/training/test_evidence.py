"""The command `evidence`: its files, its refusals, and a second run that goes on where the first one stopped."""

import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.autodir.assessor import Assessor
from models.networks.drunet import DRUNet
from models.training import __main__ as command
from models.training import evidence
from models.training.autodir import autodir_small
from models.training.core.text_encoder import text_parameters
from models.training.core.trainer import save_weights


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Runs a command of the assessor with random networks, two photos, and batches of two."""
    torch.manual_seed(0)
    assessor, words = Assessor(autodir_small.CLIP, autodir_small.NAMES), []
    visual = assessor.clip.visual.own.state_dict()
    save_file(text_parameters(assessor.clip), tmp_path / "text.safetensors")
    save_file({f"clip.visual.{name}": value for name, value in visual.items()}, tmp_path / "glance.safetensors")
    for name in autodir_small.ASSESSOR_SPECIALISTS:
        path = tmp_path / f"{name}.safetensors"
        save_weights(DRUNet(autodir_small.SPECIALISTS[name].network).state_dict(), path)
        words += ["--specialist", f"{name}={path}"]
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        noise = np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{seed}.png"), cv2.GaussianBlur(noise, (0, 0), 2))
    for option, path in (("--text", "text.safetensors"), ("--glance", "glance.safetensors"), ("--images", "photos")):
        words += [option, str(tmp_path / path)]
    words += ["--cache", str(tmp_path / "cache"), "--batch", "2", "--loaders", "0", "--device", "cpu"]
    monkeypatch.setattr(evidence, "FILE_BATCHES", 1)

    def run(*own):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, own), *words])
        return command.main()

    return run


def files(folder):
    return {path.name: load_file(path)["rows"] for path in sorted(folder.iterdir())}


def test_an_interrupted_run_finds_the_same_evidence_as_a_whole_one(call, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert call("evidence", "--out", whole, "--examples", 3) == 0
    assert call("evidence", "--out", parts, "--examples", 2) == 0
    assert call("evidence", "--out", parts, "--examples", 3) == 0
    first, second = files(whole), files(parts)
    assert list(first) == list(second) == ["0-00000.safetensors", "0-00001.safetensors"]
    for name, rows in first.items():
        assert len(rows) == 3, "two pictures, and a clean twin"
        assert torch.equal(rows, second[name])
    assert call("evidence", "--out", whole, "--examples", 2, "--seed", 1) == 0
    assert not torch.equal(files(whole)["1-00000.safetensors"], first["0-00000.safetensors"])


def test_a_folder_without_evidence_and_evidence_for_the_command_itself_are_refused(call, tmp_path, capsys):
    assert call("evidence", "--out", tmp_path / "evidence", "--examples", 2) == 0
    steps = ("--steps", 2, "--validate-every", 1e9, "--out", tmp_path / "run")
    assert call("assessor", "--evidence", tmp_path / "nothing", *steps) == 3
    assert "found no evidence" in capsys.readouterr().err
    assert call("evidence", "--evidence", tmp_path / "evidence", "--out", tmp_path / "other") == 3
    assert "which the stage assessor reads" in " ".join(capsys.readouterr().err.split())
    assert call("evidence", "--out", tmp_path / "other", "--examples", 0) == 3
    assert "--examples 0, expected at least 1" in " ".join(capsys.readouterr().err.split())
