"""What makes AutoDIR quick must not show: the same picture, fewer computations, and a way back where quick is wrong."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.autodir.cuda_graphs import ByShape, both, compiling, graphs
from models.autodir.deep_cache import shallow, whole
from models.autodir.guidance import guided
from models.autodir.restorer import AutoDIR
from models.autodir.samplers import StepCoefficients, euler_ancestral
from models.autodir.speed import Speed, hasten, warm
from models.autodir.transfer import coefficients, sent
from models.drive import restore_all, restore_one
from models.restorer import Controls, Request

CPU = torch.device("cpu")
NULL = torch.full((5, 6), 0.25)


def picture(height=24, width=32, seed=0):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def restored(model, seed=0, **controls):
    return restore_one(model, Request(image=picture(seed=seed), controls=Controls(**controls))).image


@pytest.fixture
def counted():
    """Counts the rows that a module is called for; its hooks are taken off again."""
    hooks = []

    def count(module, rows):
        hooks.append(module.register_forward_hook(lambda _module, inputs, _output: rows.append(len(inputs[0]))))
        return rows

    yield count
    for hook in hooks:
        hook.remove()


class TestNothingIsComputedTwice:
    def test_a_step_at_guidance_one_is_one_row_of_one_call(self, autodir, counted):
        model = autodir()
        rows = counted(model.air.unet, [])
        restored(model, prompt="haze", steps=4)
        assert rows == [1] * 4

    def test_a_guided_step_is_one_call_of_the_branches_that_count(self, autodir, counted):
        model = autodir()
        rows = counted(model.air.unet, [])
        restored(model, prompt="haze", steps=2, text_guidance=7.5, image_guidance=1.5)
        restored(model, prompt="haze", steps=2, text_guidance=3.0)
        assert rows == [3, 3, 2, 2]

    def test_a_prompt_goes_through_the_text_tower_once_however_often_it_comes(self, autodir, counted):
        model = autodir()
        model.assessor.forget_prompts()
        model.assessor.prompts()
        rows = counted(model.assessor.clip.transformer, [])
        for seed in range(3):
            restored(model, seed=seed, prompt="wash the fog away")
        assert len(rows) == 1
        for _ in range(2):
            restored(model, prompt="wash the fog away", text_guidance=2.0)
        assert len(rows) == 2  # the null prompt came in

    def test_the_class_prompts_are_computed_at_the_warm_up(self, autodir, counted):
        model = autodir()
        model.assessor.forget_prompts()
        assert warm(model) == []
        rows = counted(model.assessor.clip.transformer, [])
        restored(model, steps=2)
        assert rows == []

    def test_a_kept_prompt_says_what_the_text_tower_says(self, autodir):
        assessor = autodir().assessor
        with torch.inference_mode():
            assessor.user_states(["grainy"])
        kept = assessor.user_states(["grainy"])
        assert torch.equal(kept, assessor._text(["grainy"], masked=False)[0])
        assert not kept.is_inference()  # training may go on with it

    def test_only_the_last_prompts_are_kept(self, autodir, monkeypatch):
        monkeypatch.setattr("models.autodir.assessor.PROMPTS_KEPT", 2)
        assessor = autodir().assessor
        assessor.forget_prompts()
        for words in ("one", "two", "one", "three"):
            assessor.user_states([words])
        assert list(assessor._heard) == ["one", "three"]

    def test_each_tile_and_pass_is_encoded_once(self, autodir, monkeypatch):
        model = autodir()
        shapes = []
        encode = model.air.encode
        monkeypatch.setattr(model.air, "encode", lambda image: shapes.append(len(image)) or encode(image))
        restore_all(model, [Request(image=picture(70, 80), controls=Controls(prompt="haze", steps=3))], together=4)
        assert sum(shapes) == 9


class Seen(TorchDispatchMode):
    """Every operator that torch runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


class TestTheStep:
    @pytest.mark.parametrize("loop", [{}, {"cache_every": 2, "guidance_every": 2}])
    def test_no_number_comes_back_to_python_within_a_step(self, autodir, loop):
        """`.item()`, `.tolist()` and `if tensor` all ask for a scalar, and wait for the device to have it."""
        model = autodir(sampler="euler-ancestral", **loop)
        words = ({}, {"text_guidance": 7.5, "image_guidance": 1.5})
        requests = [Request(image=picture(), controls=Controls(prompt="haze", steps=4, **said)) for said in words]
        tracks = [outcome.tracks[0] for outcome in model.begin(requests)]
        for _ in range(3):
            with Seen() as seen:
                model.step(tracks)
            assert any("conv" in name for name in seen.names)
            assert any("scaled_dot_product" in name for name in seen.names)  # torch's own attention, no score tensor
            assert not [name for name in seen.names if "_local_scalar_dense" in name or "nonzero" in name]
        with Seen() as seen:
            tracks[0].z.sum().item()
        assert any("_local_scalar_dense" in name for name in seen.names)  # so it would be seen

    def test_coefficients_in_one_copy_are_those_of_eight(self, autodir):
        rows = [euler_ancestral(autodir().schedule, 7)[i] for i in (0, 3, 6)]
        one, eight = coefficients(rows, CPU), StepCoefficients.stack(rows)
        for name in vars(eight):
            assert torch.equal(getattr(one, name), getattr(eight, name)), name

    def test_on_a_cpu_nothing_is_copied(self):
        value = torch.rand(3)
        assert sent(value, CPU) is value

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
    def test_a_guided_sum_is_added_up_in_one_order(self, order):
        """1e8 + 1 - 1e8 is 0 or 1 in float32 by the order; cond, image, uncond gives the same for every place."""
        values = {0.0: 1e8, 1.0: 1.0}

        def network(z, z_image, timestep, context):
            cond = (context.mean(dim=(1, 2)) > 0.5).float()
            return torch.stack([torch.full_like(z[0], values[float(flag)]) for flag in cond])

        z = torch.zeros(3, 1, 2, 2)
        context = torch.ones(3, 5, 6)
        scales = [(2.0, 1.0), (7.5, 1.5), (1.0, 1.0)]
        found = guided(network, z, z + 1, torch.zeros(3), context, lambda: NULL * 0, [scales[i] for i in order])
        alone = [guided(network, z[:1], z[:1] + 1, torch.zeros(1), context[:1], lambda: NULL * 0, [s]) for s in scales]
        assert torch.equal(found, torch.cat([alone[i] for i in order]))


class TestHalfPrecision:
    @pytest.mark.parametrize("weights", ["float16", "bfloat16"])
    def test_half_precision_weights_leave_latents_and_pictures_in_float32(self, random_copy, weights):
        model = random_copy()
        hasten(model, Speed(weights=weights))
        assert model.air.unet.conv_in.weight.dtype == getattr(torch, weights)
        z = torch.randn(2, 48, 4, 4)
        assert model.air.predict(z, z, torch.tensor([3.5, 900.0]), torch.randn(2, 77, 16)).dtype == torch.float32
        assert model.air.decode(z).dtype == model.air.encode(picture()[None]).dtype == torch.float32
        assert restored(model, prompt="haze").dtype == torch.float32

    def test_the_published_tiny_networks_in_half_precision_stay_above_45_db(self, tiny_air):
        """Against float32; at most so far apart are the pictures that both decode."""
        import copy

        half = copy.deepcopy(tiny_air).to(torch.float16)
        generator = torch.Generator().manual_seed(0)
        image = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
        context = torch.randn(1, 77, 768, generator=generator)
        pictures = []
        for air in (tiny_air, half):
            z_image = air.encode(image)
            eps = air.predict(torch.ones_like(z_image), z_image, torch.tensor([400.5]), context)
            pictures.append(air.decode(0.18215 * z_image + 0.1 * eps).clamp(-1, 1))
        error = (pictures[0] - pictures[1]).square().mean()
        assert 10 * torch.log10(4 / error) > 45

    def test_a_cpu_keeps_the_weights_as_they_are(self):
        assert Speed.of(CPU) == Speed(weights="float32", graphs=False, compiled=False)

    def test_graphs_without_cuda_are_refused(self, autodir):
        with pytest.raises(ValueError, match="expected a CUDA device"):
            hasten(autodir(), Speed(graphs=True))


class TestByShape:
    """Making and falling back, with makers of our own; `plain` doubles."""

    def by_shape(self, make, **words):
        return ByShape(lambda x: 2 * x, make, **words)

    def test_a_shape_is_made_when_it_comes_for_the_third_time_and_only_once(self):
        made = []

        def make(function, inputs):
            made.append(tuple(inputs[0].shape))
            return lambda x: function(x) + 1e-4  # so that the answer tells who gave it

        quick = self.by_shape(make)
        answers = [float(quick(torch.ones(2))[0]) for _ in range(5)]
        assert answers == pytest.approx([2, 2, 2, 2.0001, 2.0001], abs=1e-5)
        quick(torch.ones(3))
        assert made == [(2,)]

    def test_a_shape_of_another_type_is_another_one(self):
        made = []
        quick = self.by_shape(lambda function, inputs: made.append(inputs[0].dtype) or function, sightings=0)
        quick(torch.ones(2))
        quick(torch.ones(2, dtype=torch.float64))
        assert made == [torch.float32, torch.float64]

    def test_what_cannot_be_made_is_left_to_the_plain_network_for_good(self):
        tries = []

        def make(function, inputs):
            tries.append(1)
            raise RuntimeError("operation not permitted when stream is capturing\nsecond line")

        quick = self.by_shape(make, sightings=0)
        assert all(torch.equal(quick(torch.ones(2)), torch.full((2,), 2.0)) for _ in range(3))
        assert len(tries) == 1
        assert quick.warm(torch.ones(2)).refused == "RuntimeError: operation not permitted when stream is capturing"

    @pytest.mark.parametrize("wrong", [2.2, float("nan"), 0.0])
    def test_what_answers_otherwise_is_refused(self, wrong):
        quick = self.by_shape(lambda function, inputs: lambda x: torch.full_like(x, wrong), sightings=0)
        assert "apart" in quick.warm(torch.ones(2)).refused
        assert torch.equal(quick(torch.ones(2)), torch.full((2,), 2.0))

    def test_what_answers_in_another_shape_is_refused(self):
        quick = self.by_shape(lambda function, inputs: lambda x: function(x)[:1], sightings=0)
        assert quick.warm(torch.ones(2)).refused == "answers [1], expected [2]"

    def test_the_longest_unused_shape_goes_first(self):
        made = []
        quick = self.by_shape(lambda function, inputs: made.append(len(inputs[0])) or function, kept=2, sightings=0)
        for size in (1, 2, 1, 3, 1, 2):
            quick(torch.ones(size))
        assert made == [1, 2, 3, 2]

    def test_where_making_takes_long_no_request_waits_for_it(self):
        made = []
        quick = self.by_shape(lambda function, inputs: made.append(1) or function, sightings=None)
        for _ in range(5):
            quick(torch.ones(2))
        assert not made
        quick.warm(torch.ones(2))
        assert made

    def test_torch_compile_goes_through_it(self):
        """With torch's own do-nothing backend: a compiler takes minutes."""
        graphs_seen = []

        def backend(graph, _examples):
            graphs_seen.append(graph)
            return graph.forward

        network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.SiLU()).requires_grad_(False)
        quick = ByShape(lambda x: network(x), compiling(backend), sightings=None)
        for size in (2, 3):
            assert quick.warm(torch.ones(size, 4)).refused is None
        assert len(graphs_seen) == 2
        torch.testing.assert_close(quick(torch.ones(2, 4)), network(torch.ones(2, 4)))

    def test_the_warm_up_says_what_became_of_each_shape(self, random_copy):
        model = random_copy()
        shapes = []
        model.air.network = ByShape(
            model.air.eager, lambda function, inputs: shapes.append(inputs[0].shape) or function
        )
        (one, two) = warm(model, [(1, 24, 32), (3, 33, 8)])
        assert one.refused is None and two.refused is None
        assert one.shapes == ((1, 96, 6, 8), (1,), (1, 77, 16))
        assert shapes[1] == (3, 96, 10, 2)  # padded to the stride of 8
        restored(model, prompt="haze")
        assert len(shapes) == 2  # a picture of 24 x 32 was ready


class TestApproximations:
    def test_with_its_own_depths_the_shallow_network_is_the_whole_one(self, tiny_air):
        """diffusers' own forward is the oracle, on the published layout and at two timesteps at once."""
        generator = torch.Generator().manual_seed(0)
        stacked, context = torch.randn(2, 8, 16, 24, generator=generator), torch.randn(2, 77, 768, generator=generator)
        at = torch.tensor([500.3, 20.0])
        expected = tiny_air.eager(stacked, at, context)
        output, deep = whole(tiny_air.unet, stacked, at, context)
        assert torch.equal(output, expected)
        torch.testing.assert_close(shallow(tiny_air.unet, stacked, at, context, deep), expected, atol=1e-6, rtol=1e-6)

    def test_depths_are_computed_at_every_other_step(self, autodir, counted):
        model = autodir(cache_every=2)
        deepest, outermost = counted(model.air.unet.mid_block.resnets[0], []), counted(model.air.unet.conv_in, [])
        restored(model, prompt="haze", steps=5)
        assert (len(deepest), len(outermost)) == (3, 5)

    def test_half_rate_guidance_computes_its_branches_at_every_other_step(self, autodir, counted):
        model = autodir(guidance_every=2)
        rows = counted(model.air.unet, [])
        restored(model, prompt="haze", steps=5, text_guidance=7.5, image_guidance=1.5)
        assert rows == [3, 1, 3, 1, 3]

    def test_half_rate_guidance_is_exact_where_cond_is_all(self, autodir):
        assert torch.equal(restored(autodir(guidance_every=2), prompt="haze"), restored(autodir(), prompt="haze"))

    @pytest.mark.parametrize(
        "loop", [{"cache_every": 2}, {"guidance_every": 3}, {"cache_every": 3, "guidance_every": 2}]
    )
    def test_strict_mode_knows_no_approximation(self, autodir, loop):
        words = {"prompt": "haze", "steps": 4, "strict": True}
        for scales in ({}, {"text_guidance": 3.0}):
            assert torch.equal(restored(autodir(**loop), **words, **scales), restored(autodir(), **words, **scales))

    def test_an_approximated_image_does_not_feel_its_neighbors(self, autodir):
        """Of four, each at its own rate of its own guidance; all join at different steps."""
        model = autodir(cache_every=2, guidance_every=2)
        words = ({}, {"text_guidance": 3.0}, {"strict": True}, {"text_guidance": 2.0, "image_guidance": 1.5})
        requests = [
            Request(image=picture(seed=i), controls=Controls(prompt="haze", seed=i, steps=4 + i, **said))
            for i, said in enumerate(words)
        ]
        waiting, running, results = [outcome.tracks[0] for outcome in model.begin(requests)], [], {}
        while waiting or running:
            running += [waiting.pop(0)] if waiting else []
            model.step(running)
            for track in [track for track in running if track.step == track.steps]:
                running.remove(track)
                results[track.job.controls.seed] = model.finish([track])[0].image
        for i, request in enumerate(requests):
            torch.testing.assert_close(results[i], restore_one(model, request).image, atol=1e-5, rtol=1e-5)


@pytest.fixture
def random_copy(autodir) -> Callable[[], AutoDIR]:
    """AutoDIR on networks of its own, which a test may change."""
    import copy

    def build() -> AutoDIR:
        model = autodir()
        return AutoDIR(
            model.config, model.assessor, copy.deepcopy(model.air), copy.deepcopy(model.scm), model.device
        )  # fmt: skip

    return build


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
class TestOnCuda:
    @pytest.fixture
    def on_cuda(self, random_copy):
        def build(speed):
            model = random_copy()
            device = torch.device("cuda")
            for network in (model.assessor, model.air, model.scm):
                network.to(device)
            model.assessor.forget_prompts()
            moved = AutoDIR(replace(model.config), model.assessor, model.air, model.scm, device)
            hasten(moved, speed)
            return moved

        yield build
        build(Speed()).assessor.to(CPU).forget_prompts()  # the session's own networks go back

    @pytest.mark.parametrize("words", [{}, {"text_guidance": 7.5, "image_guidance": 1.5}])
    def test_a_graph_gives_the_plain_picture(self, on_cuda, words):
        plain, quick = on_cuda(Speed()), on_cuda(Speed(graphs=True))
        for seed in range(4):
            ours, expected = (restored(model, seed=seed, prompt="haze", steps=4, **words) for model in (quick, plain))
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
        assert quick.air.network._made and not quick.air.network._refused

    def test_compiled_kernels_in_a_graph_give_the_plain_picture(self, on_cuda):
        plain, quick = on_cuda(Speed()), on_cuda(Speed(graphs=True, compiled=True))
        (made,) = warm(quick, [(1, 24, 32)])
        assert made.refused is None
        ours, expected = (restored(model, prompt="haze") for model in (quick, plain))
        torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-3)

    def test_the_same_seed_gives_the_same_bytes_with_guidance(self, on_cuda):
        model = on_cuda(Speed.of(torch.device("cuda")))
        words = {"prompt": "haze", "text_guidance": 7.5, "image_guidance": 1.5}
        assert torch.equal(*(restored(model, **words) for _ in range(2)))

    def test_a_graph_of_a_function_follows_its_inputs(self):
        make = both(lambda function, _inputs: function, graphs())
        quick = ByShape(lambda x, y: x * y + 1, make, sightings=None)
        x, y = torch.rand(2, 5, device="cuda")
        assert quick.warm(x, y).refused is None
        first = quick(x, y)
        second = quick(y, y)
        torch.testing.assert_close(first, x * y + 1)
        torch.testing.assert_close(second, y * y + 1)
