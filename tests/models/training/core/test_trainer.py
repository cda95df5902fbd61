"""The training loop: it learns, survives a kill, keeps the best weights, and resumes with the same data."""

import json
import math
import signal
from dataclasses import dataclass

import pytest
import torch
from rich.console import Console
from torch import nn

from models.errors import TrainingError
from models.networks.drunet import DRUNetConfig
from models.networks.nafnet import NAFNetConfig
from models.training.autodir.scm_stage import SCMStage, SCMStageConfig
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.sources import TrainingData
from models.training.core.stop_request import StopRequest
from models.training.core.trainer import Trainer, Validation
from models.training.data.photos import PhotoPool
from models.training.data.share import Draws, Share
from models.vocabulary import CLEAN

NAMES = ("low-light", CLEAN)
CPU = torch.device("cpu")
QUIET = Console(quiet=True)


@pytest.fixture
def correction_trainer(files, run_config):
    """Builds the trainer of a small SCM stage, and its run settings."""

    def build(out, **settings):
        run = run_config(out, **settings)
        torch.manual_seed(run.seed)
        network = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,), patch=2)
        config = SCMStageConfig(network=network, residual=0.3)
        data = TrainingData(photos=(PhotoPool(files, validation=False), PhotoPool(files, validation=True)))
        return Trainer(SCMStage(config, run, data, NAMES, None), run, CPU, config)

    return build


@pytest.fixture
def specialist_trainer(files, run_config):
    """Builds the trainer of a small specialist, with Muon."""

    def build(out, **settings):
        run = run_config(out, **{"muon": 0.02, "validate_every_s": 0.0, **settings})
        torch.manual_seed(run.seed)
        config = SpecialistStageConfig(names=("low-light",), network=DRUNetConfig(width=4, blocks=(1, 1), patch=2))
        data = TrainingData(photos=(PhotoPool(files, validation=False), PhotoPool(files, validation=True)))
        return Trainer(SpecialistStage(config, run, data), run, CPU, config)

    return build


class Killed(Exception):
    """Simulates a kill."""


def kill_at(step):
    def watch(at):
        if at.step == step:
            raise Killed

    return watch


def test_a_run_learns_to_brighten(tmp_path, correction_trainer):
    ours = correction_trainer(tmp_path, steps=60, batch=4, learning_rate=4e-3)
    examples = next(ours.stage.examples(10_000))
    before = float(ours.stage.loss(examples, Draws(torch.Generator())).detach())
    best = ours.train(QUIET)
    after = float(ours.stage.loss(examples, Draws(torch.Generator())).detach())
    assert after < 0.6 * before
    assert best.figures["low-light"] > 1, "dB over the input, on held-out photographs"


def test_a_run_writes_weights_log_picture_and_configuration(tmp_path, correction_trainer):
    correction_trainer(tmp_path).train(QUIET)
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.safetensors", "last.pt", "log.jsonl", "validation.png", "config.json"
    }  # fmt: skip
    stated = json.loads((tmp_path / "config.json").read_text())
    assert stated["run"]["steps"] == 6
    assert stated["scm"]["network"]["width"] == 4
    (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert row["step"] == 6 and math.isfinite(row["loss"])


def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path, correction_trainer):
    """Same weights to the bit, since data, noise and learning rate are functions of the step."""
    whole = correction_trainer(tmp_path / "whole")
    whole.train(QUIET)

    def broken():
        return correction_trainer(tmp_path / "broken", validate_every_s=0)

    with pytest.raises(Killed):
        broken().train(QUIET, on_step=kill_at(4))  # before the fourth step's checkpoint
    again = broken()
    again.resume()
    assert again.state.step == 3
    again.train(QUIET)
    assert again.state.step == 6
    for name, value in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), name
        assert torch.equal(again.average[name], whole.average[name]), name


def test_the_elapsed_minutes_survive_a_kill(tmp_path, correction_trainer):

    def build():
        return correction_trainer(tmp_path, steps=None, minutes=60, validate_every_s=0)

    with pytest.raises(Killed):
        build().train(QUIET, on_step=kill_at(2))
    again = build()
    again.resume()
    assert again.state.elapsed_s > 0
    assert again.fraction() > 0


def test_a_run_starts_from_other_weights_with_step_0(tmp_path, correction_trainer):
    first = correction_trainer(tmp_path / "first")
    first.train(QUIET)
    second = correction_trainer(tmp_path / "second", seed=3)
    second.start_from(tmp_path / "first" / "best.safetensors")
    assert second.state.step == 0
    for name, value in first.average.items():
        assert torch.equal(second.network.state_dict()[name], value)


def test_a_run_without_a_checkpoint_cannot_resume(tmp_path, correction_trainer):
    with pytest.raises(TrainingError, match=r"last\.pt does not exist: nothing to resume"):
        correction_trainer(tmp_path).resume()
    assert list(tmp_path.iterdir()) == [], "a refused run writes nothing"


def test_a_checkpoint_of_another_network_is_refused(tmp_path, correction_trainer):
    torch.save({"network": {"weight": torch.zeros(1)}}, tmp_path / "last.pt")
    with pytest.raises(TrainingError, match=r"does not fit this configuration(.|\n)*intro\.weight"):
        correction_trainer(tmp_path).resume()


def test_a_killed_run_with_muon_ends_with_the_same_weights(specialist_trainer, tmp_path):
    whole = specialist_trainer(tmp_path / "whole")
    before = whole.network.tail.weight.detach().clone()
    whole.train(QUIET)
    assert not torch.equal(before, whole.network.tail.weight)
    with pytest.raises(Killed):
        specialist_trainer(tmp_path / "killed").train(QUIET, kill_at(4))
    resumed = specialist_trainer(tmp_path / "killed")
    resumed.resume()
    resumed.train(QUIET)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, msg=name)


def test_a_run_with_another_optimizer_cannot_be_resumed(specialist_trainer, tmp_path):
    specialist_trainer(tmp_path / "run").train(QUIET)
    with pytest.raises(TrainingError, match="--muon"):
        specialist_trainer(tmp_path / "run", muon=None).resume()


@dataclass
class Line:
    """A stage that fits a slope to 3, with given scores and optionally one bad batch."""

    scores: list
    broken_step: int = -1
    name: str = "line"
    partial: bool = False

    def __post_init__(self):
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1, bias=False)

    def examples(self, start, share):
        for index in iter(lambda: 0, 1):
            self.seen = start = start + 1
            yield {"x": torch.full((2, 1), float("nan") if start - 1 == self.broken_step else 1.0 + index)}

    def loss(self, batch, draws):
        return (self.network(batch["x"]) - 3 * batch["x"]).square().mean()

    def validate(self, network):
        return Validation(score=self.scores.pop(0), figures={"slope": float(network.weight)})


@dataclass
class LineConfig:
    slope: float = 3.0


def test_one_bad_batch_does_not_end_the_training(run_config, tmp_path):
    run = run_config(tmp_path, steps=80, batch=1, learning_rate=0.2, ema=0.5)
    stage = Line(scores=[1.0], broken_step=5)
    Trainer(stage, run, CPU, LineConfig()).train(QUIET)
    assert float(stage.network.weight.detach()) == pytest.approx(3, abs=0.1)


def test_the_best_weights_by_validation_are_kept(run_config, tmp_path):
    run = run_config(tmp_path, steps=3, batch=1, validate_every_s=0)
    best = Trainer(Line(scores=[1.0, 5.0, 2.0, 3.0]), run, CPU, LineConfig()).train(QUIET)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["score"] for row in rows] == [1.0, 5.0, 2.0, 3.0]
    assert best.score == 5.0
    assert rows[1]["slope"] == pytest.approx(best.figures["slope"], abs=1e-4)


def test_a_signal_ends_a_run_after_its_step_and_saves_it(tmp_path, correction_trainer):
    ours = correction_trainer(tmp_path)
    ours.stop = StopRequest(deferred=True)

    def ask(at):
        if at.step == 2:
            ours.stop.received = signal.SIGTERM

    with pytest.raises(KeyboardInterrupt):
        ours.train(QUIET, on_step=ask)
    again = correction_trainer(tmp_path)
    again.resume()
    assert again.state.step == 3, "asked after step 2, so the next one is finished"
    again.train(QUIET)
    whole = correction_trainer(tmp_path / "whole")
    whole.train(QUIET)
    assert all(torch.equal(again.average[name], value) for name, value in whole.average.items())


def test_an_interrupted_validation_saves_the_weights_in_training_not_their_average(run_config, tmp_path):
    stage = Line(scores=[])

    def interrupted(network):
        raise KeyboardInterrupt

    stage.validate = interrupted
    trainer = Trainer(stage, run_config(tmp_path, steps=2, batch=1, learning_rate=0.2), CPU, LineConfig())
    with pytest.raises(KeyboardInterrupt):
        trainer.train(QUIET)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    assert saved["at"]["step"] == 2
    assert torch.equal(saved["network"]["weight"], stage.network.weight)
    assert not torch.equal(saved["network"]["weight"], saved["average"]["weight"])


def test_a_batch_that_cannot_be_divided_is_refused(run_config, tmp_path):
    with pytest.raises(TrainingError, match=r"got a batch of 3 for 2 processes.*give --batch a multiple of 2"):
        Trainer(Line(scores=[]), run_config(tmp_path, batch=3), CPU, LineConfig(), share=Share(0, 2))
