"""From pairs to a bundle that knows a new word, on a tiny bundle with random networks."""

import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from models.bundle import read_manifest, read_weights, verify_bundle
from models.controls import Controls
from models.drive import restore_one
from models.errors import ControlsError
from models.families import load_restorer
from models.restorer import Request
from models.training.core.trainer import Trainer
from models.training.learn import assessor
from models.training.learn.card import card_text
from models.training.learn.plan import LearnPlan
from models.training.learn.run import learn
from models.vocabulary import CLEAN

CPU = torch.device("cpu")
QUIET = Console(quiet=True)


@pytest.fixture(scope="module", autouse=True)
def few_crops():
    """Fewer crops for the assessor, which learns nothing of use here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OLD_CROPS", "HELD_OLD_EACH", "PAIR_CROPS", "HELD_PAIR_CROPS"):
            patch.setattr(assessor, name, 8)
        yield


@pytest.fixture(scope="module")
def plan(own, tiny_bundle, tmp_path_factory):
    return LearnPlan(
        folder=own, name="stripes", bundle=tiny_bundle, out=tmp_path_factory.mktemp("out") / "my-bundle", steps=4,
        batch=2, crop_px=32,
    )  # fmt: skip


@pytest.fixture(scope="module")
def learned(plan):
    said = []
    report = learn(plan, CPU, QUIET, said.append)
    return plan, report, said


def test_the_new_bundle_loads_and_knows_the_word(learned):
    plan, _, _ = learned
    verify_bundle(plan.out)
    restorer = load_restorer(plan.out, CPU)
    assert restorer.names == ("noise", "low-light", "stripes")
    image = torch.rand(3, 40, 40) * 2 - 1
    assert set(restorer.assess([image])[0].probabilities) == {"noise", "low-light", "stripes", CLEAN}
    prompt = restore_one(restorer, Request(image=image, controls=Controls(prompt="remove the stripes")))
    assert {step.by for step in prompt.report.passes} <= {"specialist stripes", "specialist detail", "diffusion"}
    restore_one(restorer, Request(image=image, controls=Controls(only=("stripes",), strength={"stripes": 0.5})))
    with pytest.raises(ControlsError, match="does not know 'dust'"):
        restore_one(restorer, Request(image=image, controls=Controls(only=("dust",))))


def test_the_other_networks_are_the_same_and_the_old_bundle_is_not_changed(learned, tiny_bundle):
    plan, _, _ = learned
    verify_bundle(tiny_bundle)
    new, old = read_manifest(plan.out), read_manifest(tiny_bundle)
    for network in ("air", "scm", "specialist-detail"):
        before, after = (read_weights(*pair, network, CPU) for pair in ((tiny_bundle, old), (plan.out, new)))
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert new.networks["clip"]["tower"]["parts"] == ["specialist-detail"], "the assessor asks it as before"
    assert not any(name.startswith("visual.branches.") for name in read_weights(plan.out, new, "clip", CPU))
    assert new.networks["clip"]["text"]["kept_tokens"] >= old.networks["clip"]["text"]["kept_tokens"]
    assert new.degradations[-1].name == CLEAN
    assert new.degradations[-2].prompt == "A photo needs stripes artifact reduction"


def test_the_report_counts_each_pair_once_and_the_card_states_it(learned):
    plan, report, _ = learned
    assert report.trained_pairs + report.chosen_pairs + report.after.pairs == 8
    assert report.steps == 4
    card = (plan.out / "card.md").read_text()
    assert card == card_text(report)
    assert f"{report.after.automatic:.2f}" in card
    assert json.loads((plan.out / "learned.json").read_text()) == json.loads(json.dumps(report.as_json()))
    assert not plan.work.exists()


def test_an_interrupted_run_continues(plan, monkeypatch):
    again = replace(plan, out=plan.out.with_name("interrupted"), start="detail")
    step = Trainer._step
    taken = []

    def interrupted(self, batch):
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(self.state.step)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(again, CPU, QUIET, lambda text: None)
    assert not again.out.exists()
    said = []
    report = learn(again, CPU, QUIET, said.append)
    assert any("continuing at step 2" in text for text in said)
    assert report.steps == 4
    verify_bundle(again.out)
