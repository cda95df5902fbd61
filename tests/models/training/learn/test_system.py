"""`--strict-system`: copies of AIR and SCM learn the new degradation, and strict mode uses them for it alone."""

import pytest
import torch
from rich.console import Console

from models.autodir.assessor import prompt_of
from models.bundle import read_manifest, read_weights, verify_bundle
from models.controls import Controls
from models.drive import restore_all, restore_one
from models.families import load_restorer
from models.restorer import Request
from models.training.autodir.scm_stage import SCMStage
from models.training.core.trainer import Trainer
from models.training.learn import assessor
from models.training.learn.plan import LearnPlan
from models.training.learn.run import learn

CPU = torch.device("cpu")
QUIET = Console(quiet=True)


def strict(image, name):
    return Request(image=image, controls=Controls(strict=True, prompt=prompt_of(name)))


@pytest.mark.slow
def test_both_networks_are_trained_continued_packed_measured_and_used(own, tiny_bundle, tmp_path, monkeypatch):
    for name in ("OLD_CROPS", "HELD_OLD_EACH", "PAIR_CROPS", "HELD_PAIR_CROPS"):
        monkeypatch.setattr(assessor, name, 8)
    plan = LearnPlan(
        folder=own, name="stripes", bundle=tiny_bundle, out=tmp_path / "out", steps=3, batch=2, crop_px=32,
        start="detail", strict_system=True,
    )  # fmt: skip
    step, taken = Trainer._step, []

    def interrupted(self, batch):
        if isinstance(self.stage, SCMStage) and len(taken) == 2:
            raise KeyboardInterrupt
        if isinstance(self.stage, SCMStage):
            taken.append(self.state.step)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learn(plan, CPU, QUIET, lambda text: None)
    said = []
    report = learn(plan, CPU, QUIET, said.append)
    assert {"air: continuing at step 3", "scm: continuing at step 2"} <= set(said)
    assert (report.strict.air_steps, report.strict.scm_steps) == (3, 3)
    assert report.strict.after.old == report.strict.before.old
    card = (plan.out / "card.md").read_text()
    assert f"| stripes | {report.strict.before.new:+.2f} | {report.strict.after.new:+.2f} |" in card

    verify_bundle(plan.out)
    for network in ("air", "scm"):
        old = read_weights(tiny_bundle, read_manifest(tiny_bundle), network, CPU)
        kept, taught = (
            read_weights(plan.out, read_manifest(plan.out), key, CPU) for key in (network, f"{network}-stripes")
        )
        assert all(torch.equal(old[key], kept[key]) for key in old)
        assert any(not torch.equal(old[key], taught[key]) for key in old), network

    before, after = load_restorer(tiny_bundle, CPU), load_restorer(plan.out, CPU)
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    alone = {name: restore_one(after, strict(image, name)).image for name in ("noise", "stripes")}
    torch.testing.assert_close(alone["noise"], restore_one(before, strict(image, "noise")).image)
    together = restore_all(after, [strict(image, name) for name in ("noise", "stripes", "noise")], together=3)
    for done, name in zip(together, ("noise", "stripes", "noise"), strict=True):
        torch.testing.assert_close(done.image, alone[name], atol=1e-4, rtol=0)
