"""What the user's controls change in AutoDIR's loop: shares of single repairs, presets, scale, and crops."""

import numpy as np
import pytest
import torch
from scripted_assessor import NAMES, Script, picture, restored, sees

from models.controls import Controls
from models.drive import restore_one
from models.errors import ControlsError
from models.pixels import to_pixels
from models.restorer import Request

ONE_PASS = (sees(noise=0.8), sees(clean=0.9))
REPAIRS = tuple(name for name in NAMES if name != "clean")


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_a_share_for_every_repair_equals_one_strength_where_one_pass_runs(autodir, share):
    model = autodir(assessor=Script(*ONE_PASS, *ONE_PASS))
    plain = restored(model, picture(), strength=share)
    model = autodir(assessor=Script(*ONE_PASS))
    shared = restored(model, picture(), strength=dict.fromkeys(REPAIRS, share))
    torch.testing.assert_close(shared.image, plain.image)
    (one,), (other,) = plain.report.passes, shared.report.passes
    assert one.max_change_levels == pytest.approx(other.max_change_levels, rel=1e-4)
    assert one.mean_change_levels == pytest.approx(other.mean_change_levels, rel=1e-4)


def test_each_pass_is_mixed_with_its_own_input(autodir):
    """The oracle is arithmetic on the two full repairs, of which the second starts from the mixed first."""
    haze_first = Script(sees(noise=0.8), sees(haze=0.8), sees(clean=0.9))
    both = restored(autodir(assessor=haze_first), picture(), strength={"noise": 0.3}, max_passes=1).image
    noise = restored(autodir(assessor=Script(*ONE_PASS)), picture(), max_passes=1).image
    torch.testing.assert_close(both, torch.lerp(picture(), noise, 0.3))


def test_a_repair_with_share_zero_is_not_done_and_another_is(autodir):
    script = Script(sees(noise=0.6, haze=0.35), sees(clean=0.9))
    report = restored(autodir(assessor=script, floor=0.1), picture(), strength={"noise": 0}).report
    assert report.labels == ("haze",)


def test_nothing_looks_at_an_image_whose_repairs_all_have_share_zero(autodir):
    script, image = Script(sees(noise=0.9)), picture()
    outcome = restored(autodir(assessor=script), image, strength=dict.fromkeys(REPAIRS, 0))
    assert outcome.image is image and not script.shown
    assert (outcome.report.stop_reason, outcome.report.change.share) == ("strength-zero", 0)


@pytest.mark.parametrize(
    ("seen", "blur", "controls", "labels"),
    [
        ({"haze": 0.8}, 0.16, {}, ()),
        ({"haze": 0.8}, 0.14, {}, ("haze",)),
        ({"haze": 0.8}, 0.16, {"only": ("haze",)}, ("haze",)),
        ({"haze": 0.8}, 0.16, {"prompt": "haze"}, ("haze",)),
        ({"haze": 0.8}, 0.16, {"strict": True}, ("haze",)),
        ({"noise": 0.6, "haze": 0.38}, 0.3, {}, ("noise",)),
    ],
)
def test_a_photo_that_may_be_blurred_is_dehazed_only_on_the_users_word(autodir, seen, blur, controls, labels):
    model = autodir(assessor=Script({**sees(**seen), "blur": blur}, *[sees(clean=0.9)] * 3), floor=0.35)
    assert restored(model, picture(), **controls).report.labels == labels


def test_a_repair_that_was_judged_as_a_whole_is_looked_at_again_before_the_next(autodir):
    script = Script(sees(noise=0.8), sees(haze=0.8), sees(clean=0.9))
    report = restored(autodir(assessor=script), picture(), strength={"noise": 0.5}).report
    assert (report.labels, len(script.shown)) == (("noise",), 3)


@pytest.mark.parametrize("strength", [{"snow": 0.5}, {"snow": 0}])
def test_a_share_of_a_repair_that_the_bundle_does_not_know_is_refused(autodir, strength):
    with pytest.raises(ControlsError, match="does not know 'snow'"):
        restored(autodir(assessor=Script(*ONE_PASS)), picture(), strength=strength)


def test_shares_beside_a_prompt_are_refused(autodir):
    with pytest.raises(ControlsError, match="give strength as a number"):
        restored(autodir(assessor=Script(*ONE_PASS)), picture(), strength={"noise": 0.5}, prompt="less noise")


@pytest.mark.parametrize(
    ("answers", "controls", "repairs"),
    [
        ((sees(clean=0.9),), {}, [("low-resolution", "scale")]),
        ((sees(noise=0.8), sees(clean=0.9)), {}, [("noise", "auto"), ("low-resolution", "scale")]),
        ((sees(noise=0.8),), {"max_passes": 1}, [("low-resolution", "scale")]),
        ((sees(low_resolution=0.8), sees(clean=0.9)), {}, [("low-resolution", "auto")]),
        ((sees(clean=0.9),), {"skip": ("low-resolution",)}, []),
        ((sees(clean=0.9),), {"only": ("noise",)}, []),
        ((sees(clean=0.9),), {"strength": {"low-resolution": 0}}, []),
    ],
)
def test_an_enlarged_photo_gets_a_repair_of_low_resolution_unless_it_is_excluded(autodir, answers, controls, repairs):
    report = restored(autodir(assessor=Script(*answers)), picture(), scale=2, **controls).report
    assert [(entry.label, entry.source) for entry in report.passes] == repairs


def test_an_enlarged_photo_gets_its_repair_also_after_a_pass_that_did_not_help(autodir):
    script = Script(sees(noise=0.8), sees(noise=0.85), sees(clean=0.9))
    report = restored(autodir(assessor=script), picture(), scale=2).report
    assert [(entry.label, entry.kept) for entry in report.passes] == [("noise", False), ("low-resolution", True)]


def test_a_photo_that_was_not_enlarged_gets_none(autodir):
    assert not restored(autodir(assessor=Script(sees(clean=0.9))), picture()).report.passes


def test_a_part_is_repaired_as_the_whole_photo_asks(autodir):
    whole, part = picture(48, 64), picture(48, 64)[:, :24, :32].clone()
    script = Script(sees(clean=0.9), sees(noise=0.8), sees(clean=0.95))  # of the part, the whole, the result
    request = Request(image=part, whole=whole, controls=Controls(seed=3))
    outcome = restore_one(autodir(assessor=script), request)
    assert [tuple(image.shape) for image in script.shown] == [(3, 24, 32), (3, 48, 64), (3, 24, 32)]
    assert outcome.report.labels == ("noise",) and outcome.report.degradations["noise"] == 0.8
    alone = restored(autodir(assessor=Script(sees(noise=0.8), sees(clean=0.95))), part, seed=3)
    assert torch.equal(outcome.image, alone.image)


def test_whether_a_repair_of_a_part_helped_is_judged_by_the_part(autodir):
    script = Script(sees(noise=0.3, clean=0.5), sees(noise=0.8), sees(noise=0.5, clean=0.4))
    request = Request(image=picture(24, 32), whole=picture(48, 64), controls=Controls())
    assert restore_one(autodir(assessor=script), request).report.stop_reason == "did-not-help"


def test_a_preview_takes_few_steps_and_one_pass(autodir):
    script = Script(sees(noise=0.8), sees(haze=0.8), sees(clean=0.9))
    controls = {"preset": "preview", "max_passes": 1}
    assert restored(autodir(assessor=script, steps=20), picture(), **controls).report.steps == 8
    script = Script(*ONE_PASS)
    assert restored(autodir(assessor=script, steps=20), picture(), **controls, steps=9).report.steps == 9
    assert restored(autodir(assessor=Script(*ONE_PASS), steps=3), picture(), **controls).report.steps == 3


@pytest.mark.parametrize(("preset", "repairs"), [("auto", 0), ("strong", 1)])
def test_the_strong_preset_repairs_what_the_bundle_is_less_sure_of(autodir, preset, repairs):
    script = Script(sees(noise=0.4, clean=0.3), sees(clean=0.9))
    report = restored(autodir(assessor=script, floor=0.6), picture(), preset=preset).report
    assert len(report.passes) == repairs


@pytest.mark.parametrize(("found", "repairs"), [(0.7, 0), (0.89, 0), (0.91, 1)])
def test_the_faithful_preset_repairs_only_what_is_rather_sure(autodir, found, repairs):
    """1.6 times a floor of 0.6 is more than 0.9, where every preset repairs."""
    script = Script(sees(noise=found, clean=(1 - found) / 2), sees(clean=0.9))
    report = restored(autodir(assessor=script, floor=0.6), picture(), preset="faithful").report
    assert len(report.passes) == repairs


@pytest.mark.parametrize(("found", "repairs"), [(0.6, 0), (0.66, 1)])
def test_the_faithful_preset_asks_for_a_greater_probability(autodir, found, repairs):
    script = Script(sees(noise=found, clean=(1 - found) / 2), sees(clean=0.9))
    report = restored(autodir(assessor=script, floor=0.4), picture(), preset="faithful").report
    assert len(report.passes) == repairs


def test_the_report_has_the_change_of_the_result_as_numpy_counts_it(autodir):
    levels = (picture().add(1).mul(127.5)).round().to(torch.uint8)
    outcome = restored(autodir(assessor=Script(*ONE_PASS)), levels)
    before = levels.permute(1, 2, 0).numpy().astype(int)
    after = to_pixels(outcome.image).astype(int)
    change, (entry,) = outcome.report.change, outcome.report.passes
    assert change.max_levels == pytest.approx(np.abs(after - before).max(), abs=0.5)
    assert change.mean_levels == pytest.approx(np.abs(after - before).mean(), abs=0.3)
    assert change.share == pytest.approx((after != before).any(axis=2).mean(), abs=0.002)
    assert (entry.max_change_levels, entry.mean_change_levels) == (change.max_levels, change.mean_levels)


def test_a_prompt_is_understood_and_words_without_a_part_in_it_are_named(autodir):
    class Reads(Script):
        def prompt_scores(self, prompts):
            return [sees(haze=0.9 if "fog" in prompt else 0.2) for prompt in prompts]

    understood = restored(
        autodir(assessor=Reads(*ONE_PASS)), picture(), prompt="please wash fog away"
    ).report.understood
    assert (understood.label, understood.score, understood.used) == ("haze", 0.9, "text")
    assert understood.ignored == ("please", "wash", "away")
