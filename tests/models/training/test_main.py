"""`python -m models.training`: help, errors as sentences with exit code 3, and runs that are killed and resumed."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file

from models.networks.clip import build_clip
from models.training import __main__ as command
from models.training.autodir import autodir_small
from models.training.core.text_encoder import text_parameters
from models.training.stages import STAGES


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Runs `python -m models.training WORDS` in this process."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, words), "--cache", str(tmp_path / "cache")])
        return command.main()

    return run


def one_line(text):
    return " ".join(text.split()).replace("- ", "-")


def printed_help(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["training", *words, "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_lists_every_command_and_shows_examples(monkeypatch, capsys):
    text = printed_help(monkeypatch, capsys)
    assert set(command.COMMANDS) <= set(re.findall(r"^    ([a-z-]+)\b", text, flags=re.MULTILINE))
    assert "example" in text and "python -m models.training chain autodir-small" in text


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help_with_an_example_that_its_parser_accepts(monkeypatch, capsys, name):
    text = printed_help(monkeypatch, capsys, name)
    example = text.split("example:\n")[1].strip()
    assert example.startswith(f"python -m models.training {name}")
    assert command.parser().parse_args(example.split()[3:]).command == name


def test_every_stage_of_the_families_can_be_trained_by_command():
    assert set(STAGES) < set(command.COMMANDS)


@pytest.mark.parametrize("stage", ["assessor", "air", "scm"])
def test_a_missing_folder_gets_a_sentence_and_exit_3(call, tmp_path, capsys, stage):
    assert call(stage, "--images", tmp_path / "nowhere", "--out", tmp_path / "out", "--device", "cpu") == 3
    text = one_line(capsys.readouterr().err)
    assert "nowhere is not a folder. --images takes folders of photographs" in text
    assert "Traceback" not in text


def test_an_empty_folder_gets_a_sentence_and_exit_3(call, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert call("scm", "--images", tmp_path / "empty", "--out", tmp_path / "out", "--device", "cpu") == 3
    assert "holds no photo" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("stage", ["glance", "assessor", "air"])
def test_a_stage_that_needs_the_text_encoder_says_how_to_train_it(call, photos, tmp_path, capsys, stage):
    assert call(stage, "--images", photos, "--out", tmp_path / "out", "--device", "cpu") == 3
    assert "python -m models.training text" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "got no --glance. Train it first: python -m models.training glance"),
        (["--specialist", "wind=a.safetensors"], "expected NAME=FILE of detail, weather, light, blur"),
        (["--specialist", "detail=nowhere.safetensors"], "cannot read nowhere.safetensors"),
    ],
)
def test_the_assessor_says_what_it_needs(call, photos, tmp_path, capsys, words, message):
    text = tmp_path / "text.safetensors"
    save_file(text_parameters(build_clip(autodir_small.GLANCE)), text)
    options = ["assessor", "--images", photos, "--out", tmp_path / "out", "--device", "cpu", "--text", text]
    assert call(*options, *words) == 3
    assert message in one_line(capsys.readouterr().err)


@pytest.mark.slow
def test_a_killed_process_is_resumed_where_it_last_saved(call, photos, tmp_path):
    """SIGKILL, then --resume: the log continues after the last saved step, up to --steps."""
    out = tmp_path / "out"
    words = ["scm", "--images", photos, "--out", out, "--device", "cpu", "--batch", 1, "--crop", 32, "--loaders", 0]
    words = [str(word) for word in words]
    endless = [*words, "--steps", "100000", "--validate-every", "0.2", "--cache", str(tmp_path / "cache")]
    process = subprocess.Popen([sys.executable, "-m", "models.training", *endless], stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 100
        while not (out / "last.pt").exists() and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = torch.load(out / "last.pt", weights_only=True)["at"]["step"]
    assert saved >= 1
    assert call(*words, "--steps", saved + 3, "--validate-every", 1000, "--resume") == 0
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == saved + 3
    assert steps == sorted(steps)


def test_a_missing_daclip_and_missing_photos_are_errors_with_advice(call, photos, tmp_path, capsys):
    options = ("--out", tmp_path / "out", "--steps", 1)
    assert call("irsde", "--images", photos, *options) == 3
    assert "got no --daclip. Train it first" in one_line(capsys.readouterr().err)
    assert call("daclip", *options) == 3
    assert "got no --images" in one_line(capsys.readouterr().err)


def test_a_base_that_does_not_fit_is_refused(call, photos, tmp_path, capsys):
    save_file({"visual.proj": torch.zeros(3)}, tmp_path / "base.safetensors")
    options = ("--out", tmp_path / "out", "--steps", 1)
    assert call("daclip", "--images", photos, "--base", tmp_path / "base.safetensors", *options) == 3
    assert "does not fit CLIP" in one_line(capsys.readouterr().err)
