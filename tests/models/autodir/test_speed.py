"""Half precision, warm-up and CUDA graphs: the picture stays the same up to rounding."""

import copy
from dataclasses import replace

import pytest
import torch
from random_pictures import random_picture

from models.autodir.cuda_graphs import FastPerShape
from models.autodir.restorer import AutoDIR
from models.autodir.speed import warm_up
from models.compiler import CompiledNetwork, missing_compiler
from models.device import Speed
from models.psnr import psnr

CPU = torch.device("cpu")


class TestHalfPrecision:
    @pytest.mark.parametrize("weights", ["float16", "bfloat16"])
    def test_half_precision_weights_leave_latents_and_pictures_in_float32(self, random_copy, restore, weights):
        model = random_copy()
        model.accelerate(Speed(weights=weights))
        assert model.air.unet.conv_in.weight.dtype == getattr(torch, weights)
        z = torch.randn(2, 48, 4, 4)
        assert model.air.predict(z, z, torch.tensor([3.5, 900.0]), torch.randn(2, 77, 16)).dtype == torch.float32
        assert model.air.decode(z).dtype == model.air.encode(random_picture()[None]).dtype == torch.float32
        assert restore(model, prompt="haze").dtype == torch.float32

    @pytest.mark.slow
    def test_the_published_tiny_networks_in_half_precision_stay_above_45_db(self, tiny_air):
        """Against float32: the pictures that both decode."""
        half = copy.deepcopy(tiny_air).to(torch.float16)
        generator = torch.Generator().manual_seed(0)
        image = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
        context = torch.randn(1, 77, 768, generator=generator)
        pictures = []
        for air in (tiny_air, half):
            z_image = air.encode(image)
            eps = air.predict(torch.ones_like(z_image), z_image, torch.tensor([400.5]), context)
            pictures.append(air.decode(0.18215 * z_image + 0.1 * eps).clamp(-1, 1))
        assert psnr(*pictures, peak=2) > 45

    def test_graphs_without_cuda_are_refused(self, autodir):
        with pytest.raises(ValueError, match="expected a CUDA device"):
            autodir().accelerate(Speed(graphs=True))


class TestWarmUp:
    def test_the_class_prompts_are_computed_at_the_warm_up(self, autodir, count_rows, restore):
        model = autodir()
        model.assessor.forget_prompts()
        model.warm_up([(1, 24, 32)])
        rows = count_rows(model.assessor.clip.transformer)
        restore(model, steps=2)
        assert rows == []

    def test_it_reports_what_became_of_each_shape(self, random_copy, restore):
        model = random_copy()
        shapes = []
        model.air.network = FastPerShape(
            model.air.eager, lambda function, inputs: shapes.append(inputs[0].shape) or function
        )
        (one, two) = warm_up(model.air, model.assessor, [(1, 24, 32), (3, 33, 8)])
        assert one.refused is None and two.refused is None
        assert one.shapes == ((1, 96, 6, 8), (1,), (1, 77, 16))
        assert shapes[1] == (3, 96, 10, 2)  # padded to the stride of 8
        restore(model, prompt="haze")
        assert len(shapes) == 2  # a picture of 24 x 32 was ready


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
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
            moved.accelerate(speed, frames=[(24, 32)])
            return moved

        yield build
        build(Speed()).assessor.to(CPU).forget_prompts()  # the session's own networks go back

    @pytest.mark.parametrize("options", [{}, {"text_guidance": 7.5, "image_guidance": 1.5}])
    def test_a_graph_gives_the_plain_picture(self, on_cuda, restore, options):
        plain, fast = on_cuda(Speed()), on_cuda(Speed(graphs=True))
        for seed in range(4):
            ours, expected = (restore(model, seed=seed, prompt="haze", steps=4, **options) for model in (fast, plain))
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
        assert fast.air.network._made and not fast.air.network._refused

    def test_the_same_seed_gives_the_same_bytes_with_guidance(self, on_cuda, restore):
        model = on_cuda(Speed.of(torch.device("cuda")))
        options = {"prompt": "haze", "text_guidance": 7.5, "image_guidance": 1.5}
        assert torch.equal(*(restore(model, **options) for _ in range(2)))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch compiles with parts that it deprecates
@pytest.mark.skipif(missing_compiler(CPU) is not None, reason="needs a C++ compiler")
class TestCompiled:
    def test_a_compiled_denoiser_gives_the_plain_picture(self, random_copy, restore):
        plain, fast = random_copy(), random_copy()
        fast.accelerate(Speed(compile=True), frames=[(24, 32)])
        for options in ({"seed": 0}, {"seed": 1, "text_guidance": 7.5, "image_guidance": 1.5}):
            ours, expected = (restore(model, prompt="haze", steps=4, **options) for model in (fast, plain))
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
        made = fast.air.network._made.values()
        assert made and all(isinstance(function, CompiledNetwork) for function in made)  # no shape fell back


def test_without_a_compiler_the_plain_denoiser_runs(random_copy, restore, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/c++")
    model = random_copy()
    model.accelerate(Speed(compile=True))
    assert model.air.network is None
    assert torch.equal(restore(model, prompt="haze"), restore(random_copy(), prompt="haze"))
