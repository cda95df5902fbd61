"""Training runs: they learn, survive a kill, and see the same data whether or not they were interrupted."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from models.errors import TrainingError
from models.networks.clip import build_clip
from models.networks.drunet import DRUNetConfig
from models.networks.nafnet import NAFNetConfig
from models.training import __main__ as command
from models.training.autodir import autodir_small, recipes
from models.training.autodir.scm_stage import SCMStageConfig, SCMStage
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.config import RunConfig
from models.training.core.text_encoder import text_parameters
from models.training.core.trainer import Trainer, Validation
from models.training.data.dataset import DegradedPairs, batches
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig, PhotoPool, decode_into, find_photos
from models.vocabulary import CLEAN

NAMES = ("low-light", CLEAN)
EVERY_NAME = (
    "noise", "blur", "rain", "low-light", "haze", "low-resolution", "raindrop", "jpeg", "snow", CLEAN,
)  # fmt: skip
DARK = Mixture(weights={"low-light": 1.0}, two=0.0)
CPU = torch.device("cpu")
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of three small pictures of blobs."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for index in range(3):
        blobs = cv2.resize(rng.random((12, 16, 3)), (200, 160), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index}.png"), (255 * np.clip(blobs, 0, 1)).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def files(photos, tmp_path_factory):
    return decode_into(tmp_path_factory.mktemp("cache"), find_photos([photos]), 1600)


def run_config(out, **said):
    base = {
        "images": (), "out": out, "steps": 6, "batch": 2, "loaders": 0, "device": "cpu", "warmup_steps": 1,
        "crop": CropConfig(crop_px=32), "mixture": DARK, "validate_every_s": 1e9,
    }  # fmt: skip
    return RunConfig(**{**base, **said})


def correction_stage(run, files):
    torch.manual_seed(run.seed)
    network = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,), patch=2)
    config = SCMStageConfig(network=network, residual=0.3)
    pools = PhotoPool(files, validation=False), PhotoPool(files, validation=True)
    return SCMStage(config, run, pools, NAMES, None), config


def trainer(run, files):
    stage, config = correction_stage(run, files)
    return Trainer(stage, run, CPU, config)


class Killed(Exception):
    """Stands for the power cut."""


def kill_at(step):
    def watch(at):
        if at.step == step:
            raise Killed

    return watch


class TestARun:
    def test_learns_to_brighten(self, tmp_path, files):
        run = run_config(tmp_path, steps=60, batch=4, learning_rate=4e-3)
        ours = trainer(run, files)
        examples = next(ours.stage.examples(10_000))
        before = float(ours.stage.loss(examples, torch.Generator()).detach())
        best = ours.train(QUIET)
        after = float(ours.stage.loss(examples, torch.Generator()).detach())
        assert after < 0.6 * before
        assert best.figures["low-light"] > 1, "dB over the input, on held-out photographs"

    def test_leaves_weights_log_picture_and_its_configuration(self, tmp_path, files):
        trainer(run_config(tmp_path), files).train(QUIET)
        assert {path.name for path in tmp_path.iterdir()} == {
            "best.safetensors", "last.pt", "log.jsonl", "validation.png", "config.json"
        }  # fmt: skip
        stated = json.loads((tmp_path / "config.json").read_text())
        assert stated["run"]["steps"] == 6
        assert stated["scm"]["network"]["width"] == 4
        (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert row["step"] == 6

    def test_that_was_killed_ends_as_if_it_had_not_been(self, tmp_path, files):
        """Same weights to the bit, since data, noise and learning rate are functions of the step."""
        whole = trainer(run_config(tmp_path / "whole"), files)
        whole.train(QUIET)
        broken = run_config(tmp_path / "broken", validate_every_s=0)
        with pytest.raises(Killed):
            trainer(broken, files).train(QUIET, on_step=kill_at(4))  # before the fourth step's checkpoint
        again = trainer(broken, files)
        again.resume()
        assert again.at.step == 3
        again.train(QUIET)
        assert again.at.step == 6
        for name, value in whole.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[name], value), name
            assert torch.equal(again.average[name], whole.average[name]), name

    def test_keeps_counting_its_minutes_after_a_kill(self, tmp_path, files):
        run = run_config(tmp_path, steps=None, minutes=0.5 / 60, validate_every_s=0)
        with pytest.raises(Killed):
            trainer(run, files).train(QUIET, on_step=kill_at(2))
        again = trainer(run, files)
        again.resume()
        assert again.at.elapsed_s > 0
        assert again.fraction() > 0

    def test_starts_from_other_weights_with_a_fresh_count(self, tmp_path, files):
        first = trainer(run_config(tmp_path / "first"), files)
        first.train(QUIET)
        second = trainer(run_config(tmp_path / "second", seed=3), files)
        second.start_from(tmp_path / "first" / "best.safetensors")
        assert second.at.step == 0
        for name, value in first.average.items():
            assert torch.equal(second.network.state_dict()[name], value)

    def test_without_a_checkpoint_cannot_resume(self, tmp_path, files):
        with pytest.raises(TrainingError, match=r"last\.pt does not exist: nothing to resume"):
            trainer(run_config(tmp_path), files).resume()
        assert list(tmp_path.iterdir()) == [], "a refused run leaves no trace"

    def test_refuses_weights_that_do_not_fit(self, tmp_path, files):
        torch.save({"network": {"weight": torch.zeros(1)}}, tmp_path / "last.pt")
        with pytest.raises(TrainingError, match=r"does not fit this configuration(.|\n)*intro\.weight"):
            trainer(run_config(tmp_path), files).resume()


@dataclass
class Line:
    """A stage that fits a slope to 3, with one broken batch and scores as told."""

    scores: list
    broken_step: int = -1
    name: str = "line"

    def __post_init__(self):
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1, bias=False)

    def examples(self, start):
        for index in iter(lambda: 0, 1):
            self.seen = start = start + 1
            yield {"x": torch.full((2, 1), float("nan") if start - 1 == self.broken_step else 1.0 + index)}

    def loss(self, batch, generator):
        return (self.network(batch["x"]) - 3 * batch["x"]).square().mean()

    def validate(self, network):
        return Validation(score=self.scores.pop(0), figures={"slope": float(network.weight)})


@dataclass
class LineConfig:
    slope: float = 3.0


class TestTheTrainer:
    def test_one_broken_batch_does_not_end_the_work(self, tmp_path):
        run = run_config(tmp_path, steps=80, batch=1, learning_rate=0.2, ema=0.5)
        stage = Line(scores=[1.0], broken_step=5)
        Trainer(stage, run, CPU, LineConfig()).train(QUIET)
        assert float(stage.network.weight.detach()) == pytest.approx(3, abs=0.1)

    def test_the_best_weights_by_validation_are_kept(self, tmp_path):
        run = run_config(tmp_path, steps=3, batch=1, validate_every_s=0)
        best = Trainer(Line(scores=[1.0, 5.0, 2.0, 3.0]), run, CPU, LineConfig()).train(QUIET)
        rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert [row["score"] for row in rows] == [1.0, 5.0, 2.0, 3.0]
        assert best.score == 5.0
        assert rows[1]["slope"] == pytest.approx(best.figures["slope"], abs=1e-4)


class TestTheData:
    def test_an_example_is_a_function_of_seed_and_index(self, files):
        pool = PhotoPool(files, validation=False)
        pairs, again, other = (DegradedPairs(pool, CropConfig(crop_px=32), Mixture(), EVERY_NAME, seed) for seed in (1, 1, 2))
        assert all(torch.equal(pairs[7][key], again[7][key]) for key in pairs[7])
        assert not torch.equal(pairs[7]["clean"], pairs[8]["clean"])
        assert not torch.equal(pairs[7]["clean"], other[7]["clean"])

    def test_labels_sum_to_one_and_pictures_are_in_range(self, files):
        pairs = DegradedPairs(PhotoPool(files, validation=False), CropConfig(crop_px=32), Mixture(two=0.5), EVERY_NAME, 0)
        for index in range(24):
            example = pairs[index]
            assert float(example["labels"].sum()) == pytest.approx(1)
            assert example["labels"][example["label"]] > 0
            for key in ("degraded", "target", "clean"):
                assert example[key].shape == (3, 32, 32)
                assert example[key].abs().max() <= 1

    def test_a_later_start_goes_on_where_the_earlier_data_went(self, files):
        pairs = DegradedPairs(PhotoPool(files, validation=False), CropConfig(crop_px=32), DARK, NAMES, 0)
        whole = batches(pairs, start=0, batch=2, loaders=0, pin=False)
        next(whole)
        later = next(batches(pairs, start=2, batch=2, loaders=0, pin=False))
        assert torch.equal(next(whole)["degraded"], later["degraded"])

    def test_other_processes_make_the_same_examples(self, files):
        pairs = DegradedPairs(PhotoPool(files, validation=False), CropConfig(crop_px=32), DARK, NAMES, 0)
        here, there = (next(batches(pairs, start=4, batch=2, loaders=loaders, pin=False)) for loaders in (0, 1))
        assert torch.equal(here["degraded"], there["degraded"])

    def test_validation_photographs_are_not_trained_on(self, tmp_path):
        stored = []
        for index in range(5):
            stored.append(tmp_path / f"{index}.npy")
            np.save(stored[-1], np.full((80, 80, 3), index * 50, np.uint8))
        shades = [
            {round(float(pool.crop(np.random.default_rng(i), CropConfig(crop_px=16)).mean() * 255)) for i in range(40)}
            for pool in (PhotoPool(stored, validation=held, hold_out=4) for held in (False, True))
        ]
        assert shades == [{50, 100, 150}, {0, 200}]

    def test_unreadable_and_tiny_photos_are_left_out_and_large_ones_shrunk(self, tmp_path):
        (tmp_path / "text.jpg").write_text("no picture")
        cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((20, 300, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((100, 400, 3), np.uint8))
        (only,) = decode_into(tmp_path / "cache", find_photos([tmp_path]), longest_px=200)
        assert np.load(only).shape == (50, 200, 3)


class TestTheCommand:
    @pytest.fixture
    def call(self, monkeypatch, tmp_path):
        """Runs `python -m models.training WORDS` in this process."""

        def run(*words):
            monkeypatch.setattr(sys, "argv", ["training", *map(str, words), "--cache", str(tmp_path / "cache")])
            return command.main()

        return run

    def test_help_explains_the_stages_and_shows_an_example(self, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["training", "--help"])
        with pytest.raises(SystemExit) as ended:
            command.main()
        said = capsys.readouterr().out
        assert ended.value.code == 0
        stages = ("assessor", "air", "scm", "daclip", "etdiffir")
        assert all(word in said for word in (*stages, "--minutes", "--resume", "example:"))

    @pytest.mark.parametrize("stage", ["assessor", "air", "scm"])
    def test_a_missing_folder_gets_a_sentence_and_exit_3(self, call, tmp_path, capsys, stage):
        assert call(stage, "--images", tmp_path / "nowhere", "--out", tmp_path / "out", "--device", "cpu") == 3
        said = " ".join(capsys.readouterr().err.split())
        assert "nowhere is not a folder; --images takes folders of photographs" in said.replace("- ", "-")
        assert "Traceback" not in said

    def test_an_empty_folder_gets_a_sentence_and_exit_3(self, call, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        assert call("scm", "--images", tmp_path / "empty", "--out", tmp_path / "out", "--device", "cpu") == 3
        assert "holds no photo" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize("stage", ["glance", "assessor", "air"])
    def test_a_stage_that_needs_the_text_tower_says_how_to_make_it(self, call, photos, tmp_path, capsys, stage):
        assert call(stage, "--images", photos, "--out", tmp_path / "out", "--device", "cpu") == 3
        assert "python -m models.training.core.text" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            ([], "--glance; make it with: python -m models.training glance"),
            (["--specialist", "wind=a.safetensors"], "expected NAME=FILE of detail, weather, light, blur"),
            (["--specialist", "detail=nowhere.safetensors"], "nowhere.safetensors is no specialist 'detail'"),
        ],
    )
    def test_the_assessor_says_what_it_needs(self, call, photos, tmp_path, capsys, words, told):
        text = tmp_path / "text.safetensors"
        save_file(text_parameters(build_clip(autodir_small.GLANCE)), text)
        said = ["assessor", "--images", photos, "--out", tmp_path / "out", "--device", "cpu", "--text", text]
        assert call(*said, *words) == 3
        assert told in " ".join(capsys.readouterr().err.split()).replace("- ", "-")

    def test_a_killed_process_is_resumed_where_it_last_saved(self, call, photos, tmp_path):
        """SIGKILL in the middle, then --resume: the log goes on after the last saved step, to the budget's end."""
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


class TestSpecialists:
    def test_it_learns_and_a_killed_run_ends_with_the_same_weights(self, files, tmp_path):
        ends = []
        for kill in (None, 4):
            run = specialist_run(tmp_path / f"killed-{kill}")
            if kill is not None:
                with pytest.raises(Killed):
                    specialist(run, files).train(QUIET, kill_at(kill))
            trainer = specialist(run, files)
            if kill is not None and (run.out / "last.pt").exists():
                trainer.resume()
            before = trainer.stage.network.tail.weight.detach().clone()
            trainer.train(QUIET)
            assert not torch.equal(before, trainer.stage.network.tail.weight)
            ends.append({name: value.clone() for name, value in trainer.stage.network.state_dict().items()})
        for name, value in ends[0].items():
            torch.testing.assert_close(ends[1][name], value, msg=name)

    def test_a_run_of_another_optimizer_cannot_be_resumed(self, files, tmp_path):
        run = specialist_run(tmp_path / "run")
        specialist(run, files).train(QUIET)
        with pytest.raises(TrainingError, match="--muon"):
            specialist(replace(run, muon=None), files).resume()

    def test_every_recipe_draws_only_its_own_kinds(self):
        for name, one in autodir_small.SPECIALISTS.items():
            assert set(recipes.DEFAULTS[name]["mixture"].weights) == {*one.names, CLEAN}
        claimed = [kind for one in autodir_small.SPECIALISTS.values() for kind in one.names]
        assert len(claimed) == len(set(claimed)) and set(claimed) < set(autodir_small.NAMES)

    def test_a_mixture_is_said_in_words(self):
        assert recipes.shares("haze=1.3, low-light=1") == {"haze": 1.3, "low-light": 1.0}
        with pytest.raises(TrainingError, match="fog"):
            recipes.shares("fog=1")
        with pytest.raises(TrainingError, match="haze=much"):
            recipes.shares("haze=much")


def specialist_run(out):
    return run_config(out, steps=6, muon=0.02, validate_every_s=0.0)


def specialist(run, files):
    torch.manual_seed(run.seed)
    config = SpecialistStageConfig(names=("low-light",), network=DRUNetConfig(width=4, blocks=(1, 1), patch=2))
    pools = PhotoPool(files, validation=False), PhotoPool(files, validation=True)
    return Trainer(SpecialistStage(config, run, pools), run, CPU, config)
