"""AutoDIR's loop with a scripted assessor: the repairs, the input of each pass, and every reason to stop."""

import pytest
import torch
from parity_check import assert_parity
from scripted_assessor import NAMES, Script, picture, restored, sees

from models.controls import Controls
from models.errors import ControlsError
from models.noise import NoiseStream
from models.pixels import newly_black_share
from models.restorer import Request


class TestTheLoop:
    def test_a_clean_image_is_returned_unchanged(self, autodir):
        image = picture()
        outcome = restored(autodir(assessor=Script(sees(clean=0.6))), image)
        assert torch.equal(outcome.image, image)
        assert (outcome.report.stop_reason, outcome.report.passes) == ("clean", ())

    @pytest.mark.parametrize(
        ("later", "passes", "reason"), [(0.0, 2, "clean"), (0.45, 2, "clean"), (0.6, 1, "uncertain")]
    )
    def test_a_later_repair_may_need_a_higher_probability_than_the_first(self, autodir, later, passes, reason):
        script = Script(sees(noise=0.5), sees(haze=0.5, noise=0.1), sees(clean=0.9))
        report = restored(autodir(assessor=script, floor=0.4, later_floor=later), picture()).report
        assert (len(report.passes), report.stop_reason) == (passes, reason)

    @pytest.mark.parametrize(("seen_first", "passes"), [(0.3, 2), (0.1, 1)])
    def test_the_higher_floor_holds_only_for_names_that_were_improbable_at_first(self, autodir, seen_first, passes):
        script = Script(sees(noise=0.6, haze=seen_first), sees(haze=0.5, noise=0.1), sees(clean=0.9))
        model = autodir(assessor=script, floor=0.4, later_floor=0.9, glimpsed=0.2)
        assert len(restored(model, picture()).report.passes) == passes

    def test_it_repairs_until_the_image_looks_clean(self, autodir):
        script = Script(sees(noise=0.8), sees(haze=0.7), sees(clean=0.9))
        report = restored(autodir(assessor=script), picture(), seed=5).report
        assert report.labels == ("noise", "haze")
        assert report.stop_reason == "clean"
        assert (report.seed, report.steps) == (5, 3)
        first = report.passes[0]
        assert (first.source, first.kept) == ("auto", True)
        assert (first.probability_before, first.probability_after) == (0.8, pytest.approx(0.1))
        assert next(iter(report.degradations)) == "noise"

    def test_each_pass_starts_from_the_last_result(self, autodir):
        script = Script(sees(noise=0.8), sees(haze=0.7), sees(clean=0.9))
        outcome = restored(autodir(assessor=script), picture())
        assert torch.equal(script.shown[0], picture())
        assert torch.equal(script.shown[2], outcome.image)
        assert not torch.equal(script.shown[1], script.shown[2])

    def test_a_repaired_class_leaves_the_list(self, autodir):
        """Noise is repaired once, even if the assessor still finds it."""
        falling = [sees(noise=share, haze=0.3, clean=0.01) for share in (0.69, 0.68, 0.67, 0.66)]
        report = restored(autodir(assessor=Script(*falling)), picture(), strict=True).report
        assert report.labels == ("noise", "haze", "low-resolution")
        assert report.stop_reason == "nothing-left"

    def test_a_repair_that_left_the_damage_is_not_called_clean(self, autodir):
        script = Script(sees(noise=0.99, clean=0.001), sees(noise=0.979, clean=0.02))
        report = restored(autodir(assessor=script), picture()).report
        assert (report.labels, report.stop_reason) == (("noise",), "still-degraded")
        skipped = restored(autodir(assessor=Script(sees(noise=0.979, clean=0.02))), picture(), skip=("noise",)).report
        assert (skipped.passes, skipped.stop_reason) == ((), "still-degraded")

    def test_a_pass_tells_how_far_its_pixels_moved(self, autodir):
        script = Script(sees(noise=0.8), sees(clean=0.9))
        outcome = restored(autodir(assessor=script), picture(), strength=0.5)
        moved = (outcome.image - picture()).abs().max().item() * 127.5
        (entry,) = outcome.report.passes
        assert entry.max_change_levels == pytest.approx(moved, rel=1e-3) and entry.visible
        script = Script(sees(noise=0.8), sees(clean=0.9))
        faint = restored(autodir(assessor=script), picture(), strength=0.45 / moved).report
        assert (faint.labels, faint.passes[0].visible) == ((), False), "a change of one level is not called a repair"

    def test_a_second_image_starts_with_all_names(self, autodir):
        script = Script(*[sees(noise=0.8), sees(clean=0.9)] * 2)
        model = autodir(assessor=script)
        reports = [restored(model, picture(seed=seed)).report for seed in (1, 2)]
        assert [report.labels for report in reports] == [("noise",), ("noise",)]

    def test_max_passes_ends_the_loop(self, autodir):
        script = Script(sees(noise=0.9), sees(haze=0.9), sees(low_resolution=0.9), sees(clean=0.9))
        report = restored(autodir(assessor=script), picture(), max_passes=2).report
        assert report.labels == ("noise", "haze")
        assert report.stop_reason == "max-passes"
        script = Script(sees(noise=0.9), sees(haze=0.9))
        assert len(restored(autodir(assessor=script, max_passes=1), picture()).report.passes) == 1

    def test_a_pass_that_did_not_help_is_taken_back(self, autodir):
        """Noise is repaired; the repair of haze then makes haze more probable and "clean" less probable."""
        worse = sees(haze=0.8, clean=0.05)
        script = Script(sees(noise=0.8), sees(haze=0.7, clean=0.1), worse)
        outcome = restored(autodir(assessor=script), picture())
        assert torch.equal(outcome.image, script.shown[1])
        assert outcome.report.labels == ("noise",)
        assert [entry.kept for entry in outcome.report.passes] == [True, False]
        assert outcome.report.stop_reason == "did-not-help"

    def test_the_input_is_returned_if_no_repair_helps(self, autodir):
        script = Script(sees(noise=0.8, clean=0.1), sees(noise=0.9, clean=0.05))
        outcome = restored(autodir(assessor=script), picture())
        assert torch.equal(outcome.image, picture())
        assert outcome.report.labels == ()

    def test_an_uncertain_assessor_leaves_the_image_unchanged(self, autodir):
        outcome = restored(autodir(assessor=Script(sees(noise=0.3)), floor=0.4), picture())
        assert torch.equal(outcome.image, picture())
        assert outcome.report.stop_reason == "uncertain"

    def test_the_color_fix_gives_each_channel_the_inputs_mean_and_deviation(self, autodir):
        answers = sees(noise=0.8), sees(haze=0.7), sees(clean=0.9)
        drifted, fixed = (
            restored(autodir(assessor=Script(*answers)), picture(), color_fix=fix) for fix in (False, True)
        )
        assert (fixed.image.mean((1, 2)) - drifted.image.mean((1, 2))).abs().max() > 1e-3
        torch.testing.assert_close(fixed.image.mean((1, 2)), picture().mean((1, 2)), atol=1e-5, rtol=0)
        torch.testing.assert_close(fixed.image.std((1, 2)), picture().std((1, 2)), atol=1e-4, rtol=0)

    def test_the_color_fix_changes_the_final_image_and_not_the_input_of_the_next_pass(self, autodir):
        answers = sees(noise=0.8), sees(haze=0.7), sees(clean=0.9)
        scripts = [Script(*answers), Script(*answers)]
        for script, fix in zip(scripts, (False, True), strict=True):
            restored(autodir(assessor=script), picture(), color_fix=fix)
        for plain, fixed in zip(scripts[0].shown, scripts[1].shown, strict=True):
            assert torch.equal(plain, fixed)

    def test_the_color_fix_leaves_a_clean_picture_as_it_is(self, autodir):
        outcome = restored(autodir(assessor=Script(sees(clean=0.9))), picture(), color_fix=True)
        assert torch.equal(outcome.image, picture())

    @pytest.mark.parametrize(("name", "kept"), [("haze", False), ("noise", True)])
    def test_only_dehazing_is_taken_back_for_turning_pixels_black(self, autodir, name, kept):
        """Noise over black is bright, and its repair is black again, as it should be."""
        dark = picture() * 0.02 - 0.95  # barely above black
        script = Script(sees(**{name: 0.8}), sees(clean=0.9))
        whole = restored(autodir(assessor=Script(sees(**{name: 0.8}), sees(clean=0.9))), dark)
        assert newly_black_share(dark, whole.image) > 0.05, "the case is one"
        outcome = restored(autodir(assessor=script, blackening=0.01), dark)
        assert (outcome.report.stop_reason == "clean") is kept
        assert torch.equal(outcome.image, dark) is not kept

    def test_a_bundle_may_apply_only_a_share_of_a_repair(self, autodir):
        answers = sees(noise=0.8), sees(clean=0.9)
        whole, part = (
            restored(autodir(assessor=Script(*answers), strength={"noise": share}), picture()).image
            for share in (1.0, 0.25)
        )
        torch.testing.assert_close(part, torch.lerp(picture(), whole, 0.25))

    def test_the_bundle_gives_the_fidelity_unless_the_user_does(self, autodir):
        """The prompt resembles haze, so the default of haze is used."""
        image, script = picture(), Script(sees(haze=0.9))
        model = autodir(assessor=script, fidelity={"haze": 0.25, "noise": 1.0})
        assert torch.equal(
            restored(model, image, prompt="x").image, restored(model, image, prompt="x", fidelity=0.25).image
        )
        assert not torch.equal(
            restored(model, image, prompt="x").image, restored(model, image, prompt="x", fidelity=1).image
        )

    def test_the_input_tensor_is_not_changed(self, autodir):
        image = picture()
        before = image.clone()
        restored(autodir(assessor=Script(sees(noise=0.9), sees(clean=0.9))), image)
        assert torch.equal(image, before)

    def test_assessment_sees_the_whole_image_once_a_pass(self, autodir):
        script = Script(sees(noise=0.9), sees(clean=0.9))
        restored(autodir(assessor=script), picture(70, 80))
        assert [tuple(image.shape) for image in script.shown] == [(3, 70, 80)] * 2


class TestStrictAndSafe:
    def test_strict_assesses_the_published_view_and_safe_the_whole_image(self, autodir):
        for strict in (True, False):
            script = Script(sees(noise=0.8), sees(clean=0.9))
            restored(autodir(assessor=script), picture(), strict=strict)
            assert set(script.strict) == {strict}

    def test_strict_does_not_clamp_between_passes_and_safe_does(self, autodir):
        answers = sees(noise=0.8), sees(haze=0.7), sees(clean=0.9)
        strict, safe = Script(*answers), Script(*answers)
        restored(autodir(assessor=strict), picture(), strict=True)
        restored(autodir(assessor=safe), picture())
        assert strict.shown[1].abs().max() > 1
        assert max(image.abs().max() for image in safe.shown) <= 1

    def test_strict_has_no_later_floor(self, autodir):
        script = Script(sees(noise=0.5), sees(haze=0.5), sees(clean=0.9))
        report = restored(autodir(assessor=script, later_floor=0.9), picture(), strict=True).report
        assert [entry.label for entry in report.passes] == ["noise", "haze"]

    def test_strict_has_no_floor_and_keeps_every_pass(self, autodir):
        script = Script(sees(noise=0.3), sees(noise=0.9, clean=0.05), sees(clean=0.9))
        report = restored(autodir(assessor=script, floor=0.9), picture(), strict=True).report
        assert [entry.kept for entry in report.passes] == [True]
        assert report.stop_reason == "still-degraded"

    def test_strict_continues_from_the_diffusion_picture_after_low_resolution(self, autodir):
        """I_sd is the result at w = 0; if the loop ended there, the user would still get I_res."""
        seen = sees(low_resolution=0.8), sees(noise=0.8)
        diffused = restored(autodir(assessor=Script(*seen)), picture(), strict=True, fidelity=0, max_passes=1).image
        corrected = restored(autodir(assessor=Script(*seen)), picture(), strict=True, fidelity=1, max_passes=1).image
        script = Script(*seen)
        model = autodir(assessor=script)
        (track,) = model.begin([Request(image=picture(), controls=Controls(strict=True, fidelity=1))])[0].tracks
        while track.step < track.steps:
            model.step([track])
        (following,) = model.finish([track])[0].tracks
        assert torch.equal(following.run.image, diffused)
        assert torch.equal(following.run.result, corrected)
        assert torch.equal(script.shown[-1], diffused), "the next assessment looks at what is carried on"
        assert not torch.equal(corrected, diffused)

    def test_safe_continues_from_the_best_result(self, autodir):
        script = Script(sees(low_resolution=0.8), sees(clean=0.9))
        outcome = restored(autodir(assessor=script), picture(), fidelity=1)
        assert torch.equal(script.shown[-1], outcome.image)

    def test_every_strict_pass_draws_the_same_noise(self, autodir):
        model = autodir(assessor=Script(sees(noise=0.8), sees(haze=0.8), sees(clean=0.9)), sampler="euler-ancestral")
        (track,) = model.begin([Request(image=picture(), controls=Controls(strict=True, seed=7))])[0].tracks
        first = NoiseStream(7).draw((3,))
        assert torch.equal(track.stream.draw((3,)), first)
        while track.step < track.steps:
            model.step([track])
        (following,) = model.finish([track])[0].tracks
        assert following.pass_index == 1
        assert torch.equal(following.stream.draw((3,)), first)


class TestWords:
    def test_only_excludes_all_other_names(self, autodir):
        script = Script(sees(noise=0.8, haze=0.15, clean=0.04), sees(clean=0.9))
        assert restored(autodir(assessor=script), picture(), only=("fog",)).report.labels == ("haze",)

    def test_skipped_names_are_never_repaired(self, autodir):
        script = Script(sees(noise=0.5, haze=0.45, clean=0.04), sees(clean=0.9))
        assert restored(autodir(assessor=script), picture(), skip=("grain",)).report.labels == ("haze",)

    def test_a_skipped_name_does_not_make_another_probable(self, autodir):
        script = Script(sees(noise=0.8, haze=0.15, clean=0.04), sees(clean=0.9))
        report = restored(autodir(assessor=script, floor=0.4), picture(), skip=("grain",)).report
        assert (report.labels, report.stop_reason) == ((), "still-degraded")

    def test_a_prompt_is_one_pass_whatever_the_assessor_sees(self, autodir):
        report = restored(autodir(assessor=Script(sees(clean=0.95))), picture(), prompt="wash the fog away").report
        assert [(entry.label, entry.source) for entry in report.passes] == [("haze", "user")]
        assert report.stop_reason == "prompt-done"

    def test_a_repair_that_the_user_asked_for_is_kept_even_if_it_does_not_help(self, autodir):
        script = Script(sees(haze=0.5, clean=0.3), sees(haze=0.9, clean=0.05))
        outcome = restored(autodir(assessor=script), picture(), prompt="fog")
        assert not torch.equal(outcome.image, picture())
        assert outcome.report.passes[0].kept

    def test_another_prompt_gives_another_picture(self, autodir):
        model = autodir()
        fog, grain = (restored(model, picture(), prompt=words).image for words in ("fog", "get rid of the grain"))
        assert not torch.equal(fog, grain)

    @pytest.mark.parametrize(
        ("controls", "message"),
        [
            ({"only": ("fgo",)}, "Did you mean 'haze'"),
            ({"skip": ("snow",)}, "does not know 'snow'"),
            ({"only": ("haze",), "skip": ("haze",)}, "nothing to consider"),
            ({"prompt": "fog", "only": ("haze",)}, "a prompt together with only or skip"),
        ],
    )
    def test_contradicting_options_are_refused(self, autodir, controls, message):
        with pytest.raises(ControlsError, match=message):
            restored(autodir(), picture(), **controls)

    @pytest.mark.parametrize(
        "controls", [{"strength": 1.1}, {"fidelity": -0.1}, {"max_passes": 0}, {"steps": 1001}, {"seed": -1},
                     {"strength": float("nan")}, {"text_guidance": 31}, {"image_guidance": float("inf")}],
    )  # fmt: skip
    def test_numbers_out_of_range_are_refused_with_the_range(self, controls):
        with pytest.raises(ControlsError, match=rf"got {next(iter(controls))} .*expected"):
            Controls(**controls)

    def test_the_families_names_leave_out_clean(self, autodir):
        assert autodir().names == ("noise", "haze", "low-resolution")

    def test_assess_gives_probabilities_and_the_mixture_as_condition(self, autodir, random_networks):
        (found,) = autodir().assess([picture()])
        assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert found.label == max(found.probabilities, key=found.probabilities.get)
        states, _ = random_networks[0].prompts()
        expected = sum(found.probabilities[name] * states[NAMES.index(name)] for name in NAMES)
        assert_parity(found.condition, expected)

    def test_each_tile_and_pass_is_encoded_once(self, autodir, monkeypatch):
        model, rows = autodir(), []
        encode = model.air.encode
        monkeypatch.setattr(model.air, "encode", lambda images: rows.append(len(images)) or encode(images))
        restored(model, picture(70, 80), prompt="haze")
        assert sum(rows) == 2
