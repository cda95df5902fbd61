"""The strict loop against the published program's own run: every pass's picture, in order, on its random weights."""

import json
from dataclasses import dataclass

import pytest
import torch
from parity_check import PROGRAM, assert_parity
from safetensors.torch import load_file

from models.autodir.assessor import Assessor
from models.autodir.config import AutoDIRConfig, LoopConfig
from models.autodir.restorer import AutoDIR
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.pixels import to_tensor
from models.restorer import Continues, Controls, Request
from models.vocabulary import AUTODIR_NAMES, CLEAN, degradation

NAMES = (*AUTODIR_NAMES, CLEAN)


@dataclass
class Recorded:
    """The published run's noises of one pass, in place of a track's own."""

    noises: list

    def mark(self):
        return None

    def rewind(self, mark):
        raise AssertionError("a step of the published program failed")

    def draw(self, shape):
        noise = self.noises.pop(0)
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


def run(model, outcome, noises):
    """Step a pass to its end with the recorded noises."""
    assert isinstance(outcome, Continues)
    (track,) = outcome.tracks
    track.stream = Recorded(list(noises))
    while track.step < track.steps:
        model.step([track])
    return track.job, track.z, model.finish([track])[0]


def test_every_pass_of_the_automatic_loop_is_that_of_the_published_program(published, shared):
    folder = shared / "parity" / "autodir"
    vectors = load_file(folder / "pipeline_auto.safetensors")
    words = [label for _, label in json.loads((folder / "pipeline.json").read_text())["labels"]["auto"]]
    labels = [degradation(word).name for word in words[:-1]]
    assert words[-1] == "no"
    image = to_tensor(vectors["image_u8"].numpy())
    (outcome,) = published.begin([Request(image=image, controls=Controls(strict=True, fidelity=1.0))])
    for index, noises in enumerate(vectors["noises"][:, 0].chunk(len(labels))):
        job, z, outcome = run(published, outcome, noises)
        assert_parity(z, vectors[f"{index}.z"][0], of_range=PROGRAM)
        assert_parity(job.result, vectors[f"{index}.I_res"][0], of_range=PROGRAM)
        carried = "I_sd" if labels[index] == "low-resolution" else "I_res"
        assert_parity(job.image, vectors[f"{index}.{carried}"][0], of_range=PROGRAM)
    assert outcome.report.labels == tuple(labels)
    assert outcome.report.stop_reason == "clean"


def test_a_user_prompt_with_guidance_is_that_of_the_published_program(published, shared):
    vectors = load_file(shared / "parity" / "autodir" / "pipeline_user.safetensors")
    controls = Controls(
        strict=True, fidelity=1.0, prompt="A photo needs haze artifact reduction", text_guidance=3.0, image_guidance=1.5
    )
    (outcome,) = published.begin([Request(image=to_tensor(vectors["image_u8"].numpy()), controls=controls)])
    _, z, outcome = run(published, outcome, vectors["noises"][:, 0])
    assert_parity(z, vectors["0.z"][0], of_range=PROGRAM)
    assert_parity(outcome.image, vectors["0.I_res"][0], of_range=PROGRAM)
    assert outcome.report.stop_reason == "prompt-done"
