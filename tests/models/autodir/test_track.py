"""AutoDIR's tracks on random networks: identities, published guidance, and independence of neighbors and tiles."""

import pytest
import torch
from module_calls import counted_module_calls
from parity_check import PROGRAM, assert_parity

from models.autodir.samplers import StepCoefficients, advance, denoised_from, plan
from models.controls import Controls
from models.drive import restore_all, restore_one
from models.errors import ControlsError
from models.noise import NoiseStream
from models.restorer import Continues, Request, Restored, Waits

PROMPTED = Controls(prompt="wash the fog away")


def picture(height=24, width=32, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def restored(model, image, **controls):
    return restore_one(model, Request(image=image, controls=Controls(**controls)))


def by_hand(model, image, controls, text=1.0, image_scale=1.0):
    """One prompted pass, written out from the paper: three branches, the sampler's arithmetic, decoding, correction."""
    air, z_image = model.air, model.air.encode(image[None])
    cond, null = (model.assessor.user_states([words]) for words in (controls.prompt, ""))
    steps = plan(model.config.loop.sampler, air.schedule, model.config.loop.steps)
    stream = NoiseStream(controls.seed)
    z = stream.draw(tuple(z_image.shape[1:]))[None] * steps.initial_scale
    earlier = None
    for row in steps.steps:
        at = StepCoefficients.stack([row])
        scaled = at.input_scale * z
        uncond = air.predict(scaled, torch.zeros_like(z_image), at.timestep, null)
        img_cond = air.predict(scaled, z_image, at.timestep, null)
        whole = air.predict(scaled, z_image, at.timestep, cond)
        output = uncond + text * (whole - img_cond) + image_scale * (img_cond - uncond)
        denoised = denoised_from(air.config.prediction, scaled, output, at)
        noise = stream.draw(tuple(z.shape[1:]))[None] if row.spread else torch.zeros_like(z)
        z = advance(z, denoised, denoised if earlier is None else earlier, noise, at)
        earlier = denoised
    diffused = air.decode(z).clamp(-1, 1)
    return model.scm(image[None], diffused)[0].clamp(-1, 1)


class TestIdentities:
    def test_strength_zero_returns_the_input_pixel_for_pixel(self, autodir):
        image = picture(23, 37)
        for words in ({}, {"prompt": "haze"}, {"strict": True}, {"only": ("haze",)}, {"color_fix": True}):
            with counted_module_calls() as called:
                outcome = restored(autodir(), image, strength=0, **words)
            assert torch.equal(outcome.image, image)
            assert outcome.report.stop_reason == "strength-zero"
            assert (outcome.report.passes, outcome.report.degradations, called) == ((), {}, [])
        with counted_module_calls() as called:
            restored(autodir(), image, strength=0.5)
        assert called

    @pytest.mark.parametrize("controls", [{"only": ("snow",)}, {"prompt": "haze", "skip": ("haze",)}])
    def test_strength_zero_still_refuses_wrong_controls(self, autodir, controls):
        with pytest.raises(ControlsError):
            restored(autodir(), picture(), strength=0, **controls)

    def test_strength_blends_the_input_with_the_restoration(self, autodir):
        image, model = picture(), autodir()
        whole, half = (restored(model, image, prompt="haze", strength=strength).image for strength in (1.0, 0.5))
        torch.testing.assert_close(half, (image + whole) / 2)

    def test_a_fidelity_of_zero_leaves_out_the_correction(self, autodir, correction):
        image = picture()
        one, other = autodir(scm=correction(5)), autodir(scm=correction(6))
        assert torch.equal(*(restored(model, image, prompt="haze", fidelity=0).image for model in (one, other)))
        assert not torch.equal(*(restored(model, image, prompt="haze", fidelity=1).image for model in (one, other)))

    def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(self, autodir):
        image, model = picture(), autodir(sampler="euler-ancestral")
        first, again, other = (restored(model, image, prompt="haze", seed=seed).image for seed in (3, 3, 4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_at_temperature_zero_the_seed_changes_nothing_except_in_strict_mode(self, autodir):
        model = autodir(temperature=0.0)
        assert torch.equal(*(restored(model, picture(), prompt="haze", seed=seed).image for seed in (1, 2)))
        strict, other = (restored(model, picture(), prompt="haze", seed=seed, strict=True).image for seed in (1, 2))
        assert not torch.equal(strict, other)

    @pytest.mark.parametrize("sampler", ["ddim", "euler-ancestral", "dpm++2m"])
    @pytest.mark.parametrize("scales", [(1.0, 1.0), (7.5, 1.5), (3.0, 1.0)])
    def test_a_pass_equals_the_published_sum_over_three_branches(self, autodir, sampler, scales):
        image, model = picture(), autodir(sampler=sampler)
        controls = Controls(prompt="too dark", text_guidance=scales[0], image_guidance=scales[1], fidelity=1.0)
        ours = restore_one(model, Request(image=image, controls=controls)).image
        assert_parity(ours, by_hand(model, image, controls, *scales), of_range=PROGRAM)

    @pytest.mark.parametrize("size", [(1, 1), (7, 50), (33, 32)])
    def test_a_result_has_the_size_of_its_input(self, autodir, size):
        image = picture(*size)
        outcome = restored(autodir(), image, prompt="haze")
        assert outcome.image.shape == image.shape
        assert outcome.image.abs().max() <= 1


class TestNeighbors:
    REQUESTS = (
        Request(image=picture(seed=1), controls=Controls(prompt="haze", seed=1, steps=2)),
        Request(image=picture(seed=2), controls=Controls(prompt="grainy", seed=2, steps=5, text_guidance=2.0)),
        Request(image=picture(seed=3), controls=Controls(prompt="blurry", seed=3, steps=4, fidelity=0.3)),
        Request(image=picture(seed=4), controls=Controls(prompt="dark", seed=1, steps=3, image_guidance=1.5)),
    )

    @pytest.mark.parametrize("sampler", ["ddim", "euler-ancestral", "dpm++2m"])
    def test_the_result_of_an_image_does_not_depend_on_its_batch(self, autodir, sampler):
        """Tracks join at any time, stand at different steps of plans of different lengths, and leave alone."""
        model = autodir(sampler=sampler)
        waiting = [outcome.tracks[0] for outcome in model.begin(self.REQUESTS)]
        running, results = [], {}
        while waiting or running:
            running += [waiting.pop(0)] if waiting else []  # one more joins at every step
            model.step(running)
            for track in [track for track in running if track.step == track.steps]:
                running.remove(track)
                results[track.run.controls.prompt] = model.finish([track])[0].image
        for request in self.REQUESTS:
            alone = restore_one(model, request).image
            assert_parity(results[request.controls.prompt], alone, of_range=PROGRAM)

    def test_the_order_in_a_batch_does_not_matter(self, autodir):
        model = autodir()
        forwards = restore_all(model, self.REQUESTS)
        backwards = restore_all(model, self.REQUESTS[::-1])[::-1]
        for one, other in zip(forwards, backwards, strict=True):
            assert_parity(one.image, other.image, of_range=PROGRAM)

    def test_the_result_of_a_tile_does_not_depend_on_its_batch(self, autodir):
        """Tiles are tracks like any other: they may share steps with a small image and with tiles of another."""
        model = autodir()
        large = Request(image=picture(70, 80), controls=Controls(prompt="haze", seed=9))
        small = Request(image=picture(32, 32), controls=Controls(prompt="grainy", seed=9))
        alone = [restore_all(model, [request], together=1)[0].image for request in (large, small)]
        for together in (3, 16):
            for found, expected in zip(restore_all(model, [large, small], together=together), alone, strict=True):
                assert_parity(found.image, expected, of_range=PROGRAM)


class TestTiles:
    def test_an_image_over_the_native_area_becomes_tiles_of_one_shape(self, autodir):
        (outcome,) = autodir().begin([Request(image=picture(70, 80), controls=PROMPTED)])
        assert isinstance(outcome, Continues)
        assert {track.shape for track in outcome.tracks} == {(40, 80)}  # of 64 x 64 px at most, in multiples of 8
        assert [track.tile for track in outcome.tracks] == [(0, 2), (1, 2)]

    def test_the_image_waits_for_its_last_tile(self, autodir):
        model = autodir()
        tracks = model.begin([Request(image=picture(40, 120), controls=PROMPTED)])[0].tracks
        for track in tracks:
            while track.step < track.steps:
                model.step([track])
        *waits, last = model.finish(tracks[::-1])
        assert all(isinstance(outcome, Waits) for outcome in waits)
        assert isinstance(last, Restored)
        assert last.image.shape == (3, 40, 120)

    def test_tiles_draw_different_noise(self, autodir):
        model = autodir()
        tracks = model.begin([Request(image=torch.zeros(3, 70, 80), controls=PROMPTED)])[0].tracks
        model.step(tracks)
        latents = torch.stack([track.z for track in tracks]).flatten(1)
        assert len(latents.unique(dim=0)) == len(tracks)
