"""Which network calls a step makes, exactly and with each approximation."""

import pytest
import torch
from parity_check import PROGRAM, assert_parity
from random_pictures import random_picture
from torch.utils._python_dispatch import TorchDispatchMode

from models.controls import Controls
from models.drive import restore_one
from models.restorer import Request


class RecordedOperators(TorchDispatchMode):
    """The names of all operators that torch runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class TestExactly:
    def test_a_step_at_guidance_one_is_one_row_of_one_call(self, autodir, count_rows, restore):
        model = autodir()
        rows = count_rows(model.air.unet)
        restore(model, prompt="haze", steps=4)
        assert rows == [1] * 4

    def test_a_guided_step_is_one_call_of_the_branches_that_count(self, autodir, count_rows, restore):
        model = autodir()
        rows = count_rows(model.air.unet)
        restore(model, prompt="haze", steps=2, text_guidance=7.5, image_guidance=1.5)
        restore(model, prompt="haze", steps=2, text_guidance=3.0)
        assert rows == [3, 3, 2, 2]


@pytest.mark.parametrize("loop", [{}, {"cache_every": 2, "guidance_every": 2}])
def test_no_number_comes_back_to_python_within_a_step(autodir, loop):
    """`.item()`, `.tolist()` and `if tensor` all ask for a scalar, and wait for the device to have it."""
    model = autodir(sampler="euler-ancestral", **loop)
    options = ({}, {"text_guidance": 7.5, "image_guidance": 1.5})
    requests = [
        Request(image=random_picture(), controls=Controls(prompt="haze", steps=4, **option)) for option in options
    ]
    tracks = [outcome.tracks[0] for outcome in model.begin(requests)]
    for _ in range(3):
        with RecordedOperators() as recorded:
            model.step(tracks)
        assert any("conv" in name for name in recorded.names)
        assert any("scaled_dot_product" in name for name in recorded.names)  # torch's own attention, no score tensor
        assert not [name for name in recorded.names if "_local_scalar_dense" in name or "nonzero" in name]
    with RecordedOperators() as recorded:
        tracks[0].z.sum().item()
    assert any("_local_scalar_dense" in name for name in recorded.names)  # so it would be recorded


class TestApproximations:
    def test_deep_features_are_computed_at_every_other_step(self, autodir, count_rows, restore):
        model = autodir(cache_every=2)
        deepest, outermost = count_rows(model.air.unet.mid_block.resnets[0]), count_rows(model.air.unet.conv_in)
        restore(model, prompt="haze", steps=5)
        assert (len(deepest), len(outermost)) == (3, 5)

    def test_half_rate_guidance_computes_its_branches_at_every_other_step(self, autodir, count_rows, restore):
        model = autodir(guidance_every=2)
        rows = count_rows(model.air.unet)
        restore(model, prompt="haze", steps=5, text_guidance=7.5, image_guidance=1.5)
        assert rows == [3, 1, 3, 1, 3]

    def test_half_rate_guidance_is_exact_where_only_cond_counts(self, autodir, restore):
        assert_parity(restore(autodir(guidance_every=2), prompt="haze"), restore(autodir(), prompt="haze"))

    @pytest.mark.parametrize(
        "loop", [{"cache_every": 2}, {"guidance_every": 3}, {"cache_every": 3, "guidance_every": 2}]
    )
    def test_strict_mode_uses_no_approximation(self, autodir, restore, loop):
        options = {"prompt": "haze", "steps": 4, "strict": True}
        for scales in ({}, {"text_guidance": 3.0}):
            exact = restore(autodir(), **options, **scales)
            assert_parity(restore(autodir(**loop), **options, **scales), exact)

    def test_an_approximated_image_does_not_feel_its_neighbors(self, autodir):
        """Of four, each at its own rate of its own guidance; all join at different steps."""
        model = autodir(cache_every=2, guidance_every=2)
        options = ({}, {"text_guidance": 3.0}, {"strict": True}, {"text_guidance": 2.0, "image_guidance": 1.5})
        requests = [
            Request(image=random_picture(seed=i), controls=Controls(prompt="haze", seed=i, steps=4 + i, **option))
            for i, option in enumerate(options)
        ]
        waiting, running, results = [outcome.tracks[0] for outcome in model.begin(requests)], [], {}
        while waiting or running:
            running += [waiting.pop(0)] if waiting else []
            model.step(running)
            for track in [track for track in running if track.step == track.steps]:
                running.remove(track)
                results[track.run.controls.seed] = model.finish([track])[0].image
        for i, request in enumerate(requests):
            assert_parity(results[i], restore_one(model, request).image, of_range=PROGRAM)

    def test_an_approximation_changes_the_picture(self, autodir, restore):
        """So the comparisons above would notice one."""
        exact = restore(autodir(), prompt="haze", steps=4)
        assert (restore(autodir(cache_every=2), prompt="haze", steps=4) - exact).abs().max() > 1e-3
        guided = restore(autodir(), prompt="haze", steps=4, text_guidance=3.0)
        found = restore(autodir(guidance_every=3), prompt="haze", steps=4, text_guidance=3.0)
        assert not torch.allclose(found, guided, atol=1e-3)
