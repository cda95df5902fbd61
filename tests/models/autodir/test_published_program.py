"""The strict loop against the published program's own run: the picture of every pass, in order, on its random weights.

The vector in tests/parity holds every third row and column of the pictures; the files in ../shared hold all of them.
"""

import json
from dataclasses import dataclass

import pytest
import torch
from parity_check import PROGRAM, assert_parity
from safetensors.torch import load_file

from models.autodir.assessor import Assessor
from models.autodir.config import AutoDIRConfig, LoopConfig
from models.autodir.restorer import AutoDIR
from models.controls import Controls
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.noise import NoiseStream
from models.pixels import to_tensor
from models.restorer import Continues, Request
from models.vocabulary import AUTODIR_NAMES, CLEAN, degradation

NAMES = (*AUTODIR_NAMES, CLEAN)
EVERY = 3


@dataclass
class RecordedNoise:
    """The noise of the published run, in place of the track's own stream."""

    draws: list

    def mark(self):
        return None

    def rewind(self, mark):
        raise AssertionError("a step of the published program failed")

    def draw(self, shape):
        noise = self.draws.pop(0)
        assert noise.shape == shape
        return noise


@pytest.fixture(scope="module")
def published(tiny_clip, tiny_clip_state, tiny_air, checkpoint):
    assessor = Assessor(tiny_clip, NAMES).eval().requires_grad_(False)
    assessor.clip.load_state_dict(tiny_clip_state, strict=True)
    scm = NAFNet(NAFNetConfig(width=8)).eval().requires_grad_(False)
    scm.load_state_dict(checkpoint("NAFNet."), strict=True)
    config = AutoDIRConfig(names=NAMES, fidelity={}, clip=tiny_clip, air=tiny_air.config, loop=LoopConfig(steps=6))
    return AutoDIR(config, assessor, tiny_air, scm, torch.device("cpu"))


@pytest.fixture(scope="module")
def vectors(parity):
    return load_file(parity / "pipeline_small.safetensors")


@pytest.fixture(scope="module")
def labels(parity):
    """What the published program repaired, in order; its last answer was "no"."""
    words = [word for _, word in json.loads((parity / "pipeline.json").read_text())["labels"]["auto"]]
    assert words[-1] == "no"
    return [degradation(word).name for word in words[:-1]]


def run_passes(model, vectors, controls):
    """Run the loop with the recorded noise.  Returns (z, result, what the next pass starts from) a pass, and the end.

    The published program draws the same noise in every pass.
    """
    (outcome,) = model.begin([Request(image=to_tensor(vectors["image_u8"].numpy()), controls=controls)])
    passes = []
    while isinstance(outcome, Continues):
        (track,) = outcome.tracks
        track.stream = RecordedNoise(list(vectors["noises"][:6, 0]))
        while track.step < track.steps:
            model.step([track])
        z, run = track.z, track.run
        (outcome,) = model.finish([track])
        passes.append((z, run.result, run.image))
    return passes, outcome


@pytest.fixture(scope="module")
def automatic(published, vectors):
    return run_passes(published, vectors, Controls(strict=True, fidelity=1.0))


@pytest.fixture(scope="module")
def prompted(published, vectors):
    words = {"prompt": "A photo needs haze artifact reduction", "text_guidance": 3.0, "image_guidance": 1.5}
    return run_passes(published, vectors, Controls(strict=True, fidelity=1.0, **words))


def assert_passes(passes, labels, expected, every=1):
    """`expected` holds the tensors by "PASS.KIND"."""
    assert len(passes) == len(labels)
    for index, (label, (z, result, carried)) in enumerate(zip(labels, passes, strict=True)):
        assert_parity(z, expected[f"{index}.z"][0], of_range=PROGRAM)
        assert_parity(result[..., ::every, ::every], expected[f"{index}.I_res"][0], of_range=PROGRAM)
        kind = "I_sd" if label == "low-resolution" else "I_res"  # goes on to the next pass
        assert_parity(carried[..., ::every, ::every], expected[f"{index}.{kind}"][0], of_range=PROGRAM)


def below(vectors, prefix):
    return {key.removeprefix(prefix): value for key, value in vectors.items() if key.startswith(prefix)}


def test_the_automatic_loop_repairs_what_the_published_program_repairs_in_its_order(automatic, labels):
    _, restored = automatic
    assert restored.report.labels == tuple(labels)
    # The program stops at "no" among what is left; random weights still find what they repaired
    assert restored.report.stop_reason == "still-degraded"


def test_every_pass_of_the_automatic_loop_is_that_of_the_published_program(automatic, labels, vectors):
    assert_passes(automatic[0], labels, below(vectors, "auto."), EVERY)


def test_every_pixel_of_the_automatic_loop_is_that_of_the_published_program(automatic, labels, shared):
    assert_passes(automatic[0], labels, load_file(shared / "parity" / "autodir" / "pipeline_auto.safetensors"))


def test_a_user_prompt_with_guidance_is_that_of_the_published_program(prompted, vectors):
    passes, restored = prompted
    assert_passes(passes, ["haze"], below(vectors, "user."), EVERY)
    assert restored.report.stop_reason == "prompt-done"


def test_every_pixel_of_a_user_prompt_is_that_of_the_published_program(prompted, shared):
    assert_passes(prompted[0], ["haze"], load_file(shared / "parity" / "autodir" / "pipeline_user.safetensors"))


def test_the_noise_of_a_seed_is_that_of_the_published_program(vectors):
    stream = NoiseStream(7)
    for noise in vectors["noises"][:, 0]:
        assert_parity(stream.draw(tuple(noise.shape)), noise)
