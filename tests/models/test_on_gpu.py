"""What a GPU must not change: the picture of each family, its networks in half precision, the frames as graphs.

Every test runs on the CPU, too, so that its own lines have run before they meet a GPU; there "the device" is the CPU,
half precision is the CPU's, and a graph is the plain function.
"""

import copy

import pytest
import small_families
import torch
from on_devices import needs_cuda, on_cpu_and_cuda
from parity_check import assert_parity

from models.autodir.air import AIR
from models.autodir.cuda_graphs import FastPerShape, Graph, graph_maker
from models.autodir.restorer import AutoDIR
from models.autodir.speed import warm_up
from models.controls import Controls
from models.device import Speed
from models.drive import restore_all
from models.frames import FRAMES
from models.networks.drunet import DRUNet, DRUNetConfig
from models.pixels import to_pixels
from models.psnr import psnr
from models.restorer import Request

FLOAT16_OF_RANGE, BFLOAT16_OF_RANGE = 0.02, 0.1
"""About ten times what was measured for networks of random weights: 1.3e-3 and 1e-2."""
CPU = torch.device("cpu")
FAMILIES = ("autodir", "nafnet", "unet", "erunet")


@pytest.fixture(autouse=True)
def exact_float32(monkeypatch):
    """No TF32, which keeps ten bits of float32 in cuDNN's convolutions."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def build(random_networks, random_config):
    """Builds a small restorer of a family on a device; all have the same weights."""

    def build(name, device):
        if name != "autodir":
            return small_families.family(name, device)
        assessor, air, scm = (copy.deepcopy(network).to(device) for network in random_networks)
        assessor.forget_prompts()
        return AutoDIR(random_config, assessor, air, scm, device)

    return build


def pixels_on(device, seed=0):
    """(3, 44, 60) uint8 as an upload leaves them: rows of pixels, seen as channels first."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (44, 60, 3), dtype=torch.uint8, generator=draw).to(device).permute(2, 0, 1)


@on_cpu_and_cuda
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tile_px", [None, 32])
def test_pixels_on_the_device_are_restored_as_on_a_cpu(build, device, family, tile_px):
    controls = [Controls(seed=seed, steps=3, strength=0.8, color_fix=True, prompt="haze") for seed in range(2)]
    results = {}
    for place in (device, CPU):
        requests = [Request(image=pixels_on(place, c.seed), controls=c, tile_px=tile_px) for c in controls]
        results[place] = restore_all(build(family, place), requests)
    for ours, expected in zip(results[device], results[CPU], strict=True):
        assert ours.image.device.type == device.type, "a result lies where its image lay"
        assert psnr(to_pixels(ours.image), to_pixels(expected.image)) > 45
        assert [entry.label for entry in ours.report.passes] == [entry.label for entry in expected.report.passes]


def networks_of(random_networks):
    """Every network that runs in half precision on CUDA, and those of the other families, with inputs by its name."""
    _, air, scm = random_networks
    draw = torch.Generator().manual_seed(3)

    def rand(*shape):
        return torch.randn(*shape, generator=draw)

    def unet(module, dtype, x, t, context):
        return module.eager(x.to(dtype), t, context.to(dtype))

    def conditioned(module, dtype, *inputs):
        return module.denoise(*(part.to(dtype) for part in inputs[:3]), [part.to(dtype) for part in inputs[3:]])

    def plain(module, dtype, *inputs):
        return module(*(part.to(dtype) for part in inputs))

    drunet = DRUNet(DRUNetConfig(width=16, blocks=(1, 1), patch=1, tonal=False)).eval().requires_grad_(False)
    picture, z = rand(2, 3, 24, 32), rand(2, 96, 6, 8)
    found = {
        "autodir unet": (air, unet, (z, torch.tensor([3.5, 900.0]), rand(2, 77, 16))),
        "autodir scm": (scm, lambda m, dtype, a, b: m.correction(a.to(dtype), b.to(dtype)), (picture, 0.5 * picture)),
        "specialist": (drunet, plain, (picture.clamp(-1, 1),)),
    }
    for name in ("unet", "erunet"):
        module = small_families.network(name)
        constants = module.prepare(rand(2, 16), rand(2, 16))
        embedding = module.embed(torch.tensor([50, 7]), constants)
        found[f"daclip {name}"] = module, conditioned, (picture, 0.5 * picture, embedding, *constants.cross_vectors)
    return found


@on_cpu_and_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["autodir unet", "autodir scm", "specialist", "daclip unet", "daclip erunet"])
def test_half_precision_stays_near_exact_numbers(random_networks, device, name, dtype):
    """Compared in float64: as published, DA-CLIP's norms have another eps in float32."""
    module, call, inputs = networks_of(random_networks)[name]
    with torch.inference_mode():
        exact = call(copy.deepcopy(module).double(), torch.float64, *inputs)
        there = copy.deepcopy(module).to(device, dtype)
        half = call(there, dtype, *(part.to(device) for part in inputs))
    assert half.dtype == dtype
    allowed = FLOAT16_OF_RANGE if dtype == torch.float16 else BFLOAT16_OF_RANGE
    assert_parity(half.double().cpu(), exact, of_range=allowed, message=name)


class TestFrames:
    @pytest.fixture
    def framed(self, random_networks, random_config, build, device):
        """The denoiser with graphs of the frames on CUDA; on a CPU with plain functions in their place."""
        model, frames = build("autodir", device), FRAMES if device.type == "cuda" else ((64, 64), (56, 80))
        if device.type == "cuda":
            model.accelerate(Speed(graphs=True), frames)
        else:
            factor = random_config.air.codec.factor
            latents = {(height // factor, width // factor) for height, width in frames}
            worth = lambda inputs: inputs[0][0][-2:] in latents  # noqa: E731
            model.air.network = FastPerShape(model.air.eager, lambda function, inputs: function, worth=worth)
        return model, frames

    def inputs_of(self, air: AIR, sides, place, seed):
        draw = torch.Generator().manual_seed(seed)
        height, width = (side // air.config.codec.factor for side in sides)
        z = torch.randn(1, 2 * air.config.codec.channels, height, width, generator=draw)
        return z.to(place), torch.tensor([200.5 + seed], device=place), torch.randn(1, 77, 16, generator=draw).to(place)

    @on_cpu_and_cuda
    def test_every_frame_answers_as_the_plain_network_and_no_other_shape_is_captured(self, framed, device):
        model, frames = framed
        made = warm_up(model.air, model.assessor, [(1, *frame) for frame in frames])
        assert [entry.refused for entry in made] == [None] * len(frames)
        others = [(72 + 8 * k, 64 + 8 * (k % 5)) for k in range(12)]  # the sizes of other people's photos
        for seed, sides in enumerate([*frames, *others, *others, *others]):
            inputs = self.inputs_of(model.air, sides, device, seed)
            with torch.inference_mode():
                assert_parity(model.air.network(*inputs), model.air.eager(*inputs), of_range=1e-4)
        assert len(model.air.network._made) == len(frames) <= 24

    @on_cpu_and_cuda
    def test_graphs_that_share_memory_may_run_in_any_order(self, framed, device):
        model, frames = framed
        frames = frames[:4]
        warm_up(model.air, model.assessor, [(1, *frame) for frame in frames])
        inputs = {frame: self.inputs_of(model.air, frame, device, n) for n, frame in enumerate(frames)}
        with torch.inference_mode():
            expected = {frame: model.air.eager(*inputs[frame]) for frame in frames}
            orders = [frames, frames[::-1], frames[::2] + frames[1::2]]
            held = [(frame, model.air.network(*inputs[frame])) for order in orders for frame in order]
        for frame, answer in held:  # looked at only when all have run: an answer must not be overwritten
            assert_parity(answer, expected[frame], of_range=1e-4)


class TestFailedCapture:
    """A function that waits for the device cannot be captured; what it leaves behind must harm nothing."""

    pytestmark = needs_cuda

    def test_the_plain_function_serves_and_the_stream_is_the_old_one(self):
        before = torch.cuda.current_stream()
        fast = FastPerShape(lambda x: x * float(x.sum()), graph_maker(), plain_calls=0)
        x = torch.ones(4, device="cuda")
        assert torch.equal(fast(x), torch.full((4,), 4.0, device="cuda"))
        assert fast._refused
        assert torch.cuda.current_stream() == before

    def test_memory_that_two_streams_have_used_is_still_freed(self):
        with pytest.raises(RuntimeError):
            Graph(lambda x: x * float(x.sum()), [torch.ones(4, device="cuda")], torch.cuda.graph_pool_handle())
        torch.cuda.synchronize()
        other, held = torch.cuda.Stream(), torch.cuda.memory_reserved()
        for _ in range(50):
            with torch.cuda.stream(other):
                picture = torch.zeros(2**22, device="cuda")
            picture.record_stream(torch.cuda.current_stream())
            torch.cuda.current_stream().wait_stream(other)
            picture.add_(1)
            del picture
            torch.cuda.synchronize()
        assert torch.cuda.memory_reserved() - held <= 4 * 2**24

    def test_a_later_capture_succeeds(self):
        make = graph_maker()
        for _ in range(2):
            with pytest.raises(RuntimeError):
                make(lambda x: x * float(x.sum()), [torch.ones(4, device="cuda")])
        graph = make(lambda x: 2 * x, [torch.ones(4, device="cuda")])
        assert torch.equal(graph(torch.full((4,), 3.0, device="cuda")), torch.full((4,), 6.0, device="cuda"))

    def test_memory_that_was_short_during_a_capture_refuses_nothing_for_good(self):
        """Matrix products keep a workspace in the memory of graphs, also when the capture fails."""
        short, weights = [True], torch.rand(64, 64, device="cuda")

        def product(x):
            y = x @ weights
            if short[0] and torch.cuda.is_current_stream_capturing():
                torch.empty(2**50, dtype=torch.uint8, device="cuda")
            return y

        fast = FastPerShape(product, graph_maker(), plain_calls=0)
        x = torch.rand(64, 64, device="cuda")
        assert "OutOfMemoryError" in fast.warm_up(x).refused
        short[0] = False
        assert fast.warm_up(x).refused is None
        torch.testing.assert_close(fast(x), x @ weights, rtol=1e-3, atol=1e-3)
