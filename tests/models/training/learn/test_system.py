"""`--strict-system`: AIR and SCM learn the new degradation, and keep their answers on the old ones."""

import pytest
import torch
from rich.console import Console

from models.autodir.assessor import Assessor
from models.bundle import read_manifest, read_weights, verify_bundle
from models.families import load_restorer
from models.training.autodir.air_stage import AIRStageConfig
from models.training.autodir.frozen_air import FrozenAIR
from models.training.autodir.recipes import contexts_of
from models.training.autodir.scm_stage import SCMStageConfig
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.trainer import Trainer
from models.training.data.own_pairs import load_own_pairs
from models.training.data.photos import CropConfig
from models.training.learn import assessor
from models.training.learn.plan import LearnPlan
from models.training.learn.run import learn
from models.training.learn.system import TaughtAIR, TaughtSCM, _copied

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
NAMES = ("noise", "low-light", "stripes", "clean")
NEW = 2


@pytest.fixture
def stages(tiny_bundle, own, tmp_path):
    """Both stages at their start, and a batch with two pictures of the new kind and two of old ones."""
    restorer = load_restorer(tiny_bundle, CPU)
    taught = Assessor(restorer.assessor.config, NAMES)
    taught.clip = restorer.assessor.clip
    pairs = load_own_pairs(own, tmp_path / "cache", name="stripes")
    data = TrainingData(pairs=pairs)
    run = RunConfig(images=(), out=tmp_path, batch=4, device="cpu", loaders=0, crop=CropConfig(crop_px=32))
    contexts, air, scm = contexts_of(taught, 4), _copied(restorer.air), _copied(restorer.scm)
    config = AIRStageConfig(network=air.config, timesteps=(800, 999))
    first = TaughtAIR(air, NEW, config, run, data, NAMES, contexts)
    correction = SCMStageConfig(network=scm.config, loss="mse")
    second = TaughtSCM(scm, NEW, correction, run, data, NAMES, FrozenAIR(_copied(air), contexts.prompts))
    batch = next(first.examples(0))
    batch["label"] = torch.tensor([NEW, 0, NEW, 1])
    return first, second, batch


@pytest.mark.parametrize("which", [0, 1], ids=["air", "scm"])
def test_old_kinds_are_no_error_at_the_start_and_the_new_one_is(stages, which):
    stage, batch = stages[which], stages[2]
    stage.network.eval()

    def loss(rows):
        part = {key: value[rows] for key, value in batch.items()}
        return float(stage.loss(part, torch.Generator().manual_seed(0)).detach())

    assert loss([1, 3]) == pytest.approx(0, abs=1e-10)
    assert loss([0, 2]) > 1e-3


def test_the_true_answer_of_the_new_kind_is_the_undamaged_photo(stages):
    _, stage, batch = stages
    degraded, _, target = stage.draw(batch, torch.Generator().manual_seed(0)).unbind(1)
    new = batch["label"] == NEW
    assert torch.equal(target[new], batch["target"][new])
    assert torch.equal(degraded, batch["degraded"])
    assert not torch.equal(target[~new], batch["target"][~new])


@pytest.mark.slow
def test_both_networks_are_trained_packed_measured_and_continued(own, tiny_bundle, tmp_path, monkeypatch):
    for name in ("OLD_CROPS", "HELD_OLD_EACH", "PAIR_CROPS", "HELD_PAIR_CROPS"):
        monkeypatch.setattr(assessor, name, 8)
    plan = LearnPlan(
        folder=own, name="stripes", bundle=tiny_bundle, out=tmp_path / "out", steps=3, batch=2, crop_px=32,
        start="detail", strict_system=True,
    )  # fmt: skip
    step, taken = Trainer._step, []

    def interrupted(self, batch):
        if isinstance(self.stage, TaughtSCM) and len(taken) == 2:
            raise KeyboardInterrupt
        if isinstance(self.stage, TaughtSCM):
            taken.append(self.state.step)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(plan, CPU, QUIET, lambda text: None)
    said = []
    report = learn(plan, CPU, QUIET, said.append)
    assert "scm: continuing at step 2" in said
    assert "air: continuing at step 3" in said
    assert (report.strict.air_steps, report.strict.scm_steps) == (3, 3)
    assert set(report.strict.before.old) == {"noise", "low-light"}
    verify_bundle(plan.out)
    for network in ("air", "scm"):
        before, after = (
            read_weights(bundle, read_manifest(bundle), network, CPU) for bundle in (tiny_bundle, plan.out)
        )
        assert any(not torch.equal(before[key], after[key]) for key in before), network
    card = (plan.out / "card.md").read_text()
    assert f"| stripes | {report.strict.before.new:+.2f} | {report.strict.after.new:+.2f} |" in card
