"""Calibration: strengths, floors and confidence, against values that are known in advance."""

import math
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from models.autodir.assessor import prompt_of
from models.restoration_report import Report
from models.restorer import Restored
from models.training.autodir.calibration import (
    CAUTION,
    LOGIT_FACTORS,
    best_strength,
    break_even_probability,
    cautious_offset,
    fit_confidence,
    measure_floors,
    measure_strengths,
)
from models.vocabulary import CLEAN

NAMES = ("noise", "haze", CLEAN)


def pictures(count=4, side=16, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 0.4 - 0.2


def example(target):
    """A batch whose damage can be inverted exactly: half the contrast, and darker."""
    return {"degraded": target / 2 - 0.25, "target": target}


def restored(degraded):
    return 2 * (degraded + 0.25)


class TestTheBestShare:
    @pytest.mark.parametrize("share", [0.0, 0.25, 0.7, 1.0])
    def test_is_the_share_that_made_the_truth(self, share):
        before, after = pictures(seed=1), pictures(seed=2)
        assert best_strength(before, after, torch.lerp(before, after, share)) == pytest.approx(share, abs=1e-6)

    def test_has_the_least_error_of_all_shares_tried(self):
        before, after, truth = (pictures(seed=seed) for seed in (1, 2, 3))
        errors = [float((torch.lerp(before, after, s) - truth).square().mean()) for s in torch.linspace(0, 1, 101)]
        assert best_strength(before, after, truth) == pytest.approx(
            min(range(101), key=errors.__getitem__) / 100, abs=6e-3
        )

    def test_stays_between_0_and_1(self):
        before, toward = pictures(seed=1), pictures(seed=2) - 1
        assert best_strength(before, before - toward, before + toward) == 0
        assert best_strength(before, before + toward / 3, before + toward) == 1

    def test_of_a_repair_that_changes_nothing_is_harmless(self):
        before = pictures()
        assert best_strength(before, before, pictures(seed=1)) == 1

    def test_weighs_every_picture_by_its_change(self):
        """One picture fully repaired and one spoiled by as much: s minimizes (1 - s)^2 + (1 + s)^2, so 0."""
        before, change = torch.zeros(2, 3, 4, 4), torch.full((1, 3, 4, 4), 0.3)
        after, truth = torch.cat([change, change]), torch.cat([change, -change])
        assert best_strength(before, after, truth) == 0


@dataclass
class Repairer:
    """A restorer that applies the function given for the prompt, and remembers the controls."""

    repairs: dict
    controls: list = field(default_factory=list)

    def begin(self, requests):
        self.controls += [request.controls for request in requests]
        report = Report(degradations={}, passes=(), stop_reason="prompt-done", seed=0, steps=1)
        return [Restored(image=self.repairs[r.controls.prompt](r.image), report=report) for r in requests]


class TestStrengths:
    def test_are_measured_for_each_name_with_its_prompt(self):
        restorer = Repairer({prompt_of("noise"): restored, prompt_of("haze"): lambda image: image - 0.1})
        found = measure_strengths(restorer, [example(pictures(seed=seed)) for seed in range(3)], NAMES)
        assert found == {"noise": 1.0, "haze": 0.0}
        assert [controls.prompt for controls in restorer.controls] == [prompt_of("noise")] * 4 + [prompt_of("haze")] * 4
        assert {controls.strength for controls in restorer.controls} == {1.0}, "the full repair is measured"

    def test_need_a_batch_for_each_name(self):
        with pytest.raises(ValueError, match="shorter"):
            measure_strengths(Repairer({prompt_of("noise"): restored}), [example(pictures())], ("noise", "haze"))


class Correction(nn.Module):
    """Replaces the last network: returns the input plus a multiple of the exact correction."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, degraded, diffused, fidelity):
        return torch.lerp(degraded, restored(degraded), self.share)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 1.0), (-0.5, 0.0), (2.0, 0.5), (0.5, 1.0)])
def test_in_the_whole_program_an_oracle_gets_1_a_harmful_repair_0_and_a_doubled_one_half(autodir, share, expected):
    restorer = autodir(scm=Correction(share))
    found = measure_strengths(restorer, [example(pictures(2)), example(pictures(2))], ("noise", CLEAN))
    assert found == {"noise": pytest.approx(expected, abs=0.01)}


class TestFloors:
    @pytest.mark.parametrize(
        ("gain", "loss", "floor"),
        [(6, 6, 0.5), (9, 3, 0.35), (4, 6, 0.6), (2, 6, 0.65), (0, 5, 0.65), (-1, 5, 0.65), (4, -1, 0.35)],
    )
    def test_are_the_break_even_probability_within_limits(self, gain, loss, floor):
        assert break_even_probability(gain, loss) == floor

    def test_are_high_for_a_repair_that_harms_other_pictures(self):
        batches = [example(pictures(seed=0)), {"degraded": pictures(seed=1), "target": pictures(seed=1)}]
        clean = {"degraded": pictures(seed=2), "target": pictures(seed=2)}
        restorer = Repairer({prompt_of("noise"): restored, prompt_of("haze"): lambda image: image})
        found = measure_floors(restorer, [*batches, clean], NAMES)
        assert found["noise"] > 0.35, "it doubles the contrast of pictures without noise"
        assert found["haze"] == 0.35, "it does no harm"


class TestCalibration:
    """Answers with a known temperature, because the truth was drawn from them."""

    @pytest.mark.parametrize("factor", [0.7, 1.0, 2.0])
    @pytest.mark.parametrize("offset", [0.0, 0.5])
    def test_finds_factor_and_offset_of_the_draw(self, factor, offset):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(4000, 1, 5, generator=generator) * 2
        right = factor * logits[:, 0] - offset * torch.tensor([0, 0, 0, 0, 1])
        drawn = torch.multinomial(right.softmax(dim=-1), 1, generator=generator)[:, 0]
        found = fit_confidence([(one, torch.ones(1)) for one in logits], drawn.tolist(), clean=4)
        assert found[0] == pytest.approx(factor, rel=0.1) and found[1] == pytest.approx(offset, abs=0.15)

    def test_views_that_differ_need_a_larger_factor(self):
        """Half of the views are uninformative, so the mean is less confident than the other views are correct."""
        informative, uninformative = torch.tensor([3.0, 0.0, -9.0]), torch.tensor([0.0, 0.0, -9.0])
        answers = [(torch.stack([informative, uninformative]), torch.full((2,), 0.5))] * 20
        assert fit_confidence(answers, [0] * 20, clean=2)[0] == LOGIT_FACTORS[-1]

    def test_an_assessor_that_is_wrong_half_of_the_time_gets_the_smallest_factor(self):
        answers = [(torch.tensor([[4.0, 0.0, -9.0]]), torch.ones(1))] * 20
        assert fit_confidence(answers, [0, 1] * 10, clean=2)[0] == LOGIT_FACTORS[0]

    def test_the_answers_do_not_change(self):
        logits = torch.tensor([[1.0, 2.0]])
        fit_confidence([(logits, torch.ones(1))], [0], clean=1)
        assert torch.equal(logits, torch.tensor([[1.0, 2.0]]))


class TestCaution:
    """Clean pictures with known margins of "haze" over "clean": an offset w repairs those with a margin above -w."""

    MARGINS = (-3.0, -2.0, -1.1, -0.6, -0.1, 0.4, 0.9, 1.4)

    def looks(self, margins=MARGINS):
        return [(torch.tensor([[-9.0, margin, 0.0]]), torch.ones(1)) for margin in margins]

    def repaired(self, offset, factor=1.0, floor=0.0):
        """Counted by hand: haze wins by its margin, and has the logistic of it as its probability."""
        moved = [factor * margin + offset for margin in self.MARGINS]
        return sum(margin > 0 and 1 / (1 + math.exp(-margin)) >= floor for margin in moved) / len(moved)

    @pytest.mark.parametrize("at_most", [0.0, 0.125, 0.25, 0.375, 0.5])
    @pytest.mark.parametrize(("factor", "floor"), [(1.0, 0.0), (1.5, 0.0), (1.0, 0.6), (1.5, 0.7)])
    def test_the_offset_is_the_largest_that_repairs_few_clean_pictures(self, at_most, factor, floor):
        found = cautious_offset(self.looks(), factor, NAMES, {"haze": floor}, at_most)
        assert self.repaired(found, factor, floor) <= at_most
        assert all(self.repaired(offset, factor, floor) > at_most for offset in CAUTION if offset > found)

    def test_the_most_cautious_offset_is_the_last_resort(self):
        assert cautious_offset(self.looks((9.0,)), 1.0, NAMES, {}, 0.0) == CAUTION[-1]

    def test_views_count_by_their_shares(self):
        """Of two views, one is sure of haze: with a share of 0.9 it decides, with 0.1 it does not."""
        views = torch.tensor([[-9.0, 6.0, 0.0], [-9.0, -6.0, 0.0]])
        offsets = [
            cautious_offset([(views, torch.tensor([share, 1 - share]))], 1.0, NAMES, {"haze": 0.5}, 0.0)
            for share in (0.1, 0.9)
        ]
        assert offsets == [CAUTION[0], CAUTION[-1]]
