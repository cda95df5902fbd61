"""The whole published program, pass by pass, against its own record: labels, pictures, and the bytes it saves.

I_res, and biqa_in where it is carried over, are measured against their own range: with random weights the SCM's values
grow from pass to pass, to 58 in the fourth, and rounding with them.  The saved bytes are held to an absolute measure.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.autodir.policy import renormalized
from models.autodir.restorer import AutoDIR
from models.autodir.track import AutoDIRTrack, Job
from models.color import match_colors
from models.convert.verdicts import Check, Measure, Row, Vectors, row
from models.errors import BundleError, ControlsError
from models.noise import NoiseStream
from models.pixels import to_pixels, to_tensor
from models.restorer import Continues, Controls, Request, Restored
from models.vocabulary import CLEAN, degradation

USER_PROMPT = "A photo needs haze artifact reduction"
USER_GUIDANCE = (3.0, 1.5)  # text, image


class Recorded(NoiseStream):
    """The published run's noises of one pass, in place of a track's own."""

    def __init__(self, noises: Sequence[Tensor]) -> None:
        super().__init__(0)
        self._noises = list(noises)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        noise = self._noises.pop(0)
        if tuple(noise.shape) != shape:
            raise BundleError(f"the recorded noise has the shape {list(noise.shape)}, expected {list(shape)}.")
        return noise


@dataclass(kw_only=True)
class Pass:
    """What one pass started from, and what it made; the last one of a run may have stopped before restoring."""

    image: Tensor  # (3, H, W)
    probabilities: dict[str, float]
    condition: Tensor  # (L, D)
    label: str = CLEAN
    latent: Tensor | None = None  # (C, h, w)
    diffused: Tensor | None = None  # (3, H, W)
    restored: Tensor | None = None  # (3, H, W)


def follow(model: AutoDIR, image: Tensor, controls: Controls, noises: Sequence[Tensor]) -> list[Pass]:
    """The strict loop over (3, H, W), with recorded noises: a sequence of draws (C, h, w) for each pass."""
    (outcome,) = model.begin([Request(image=image, controls=controls, tile_px=max(image.shape[-2:]))])
    passes: list[Pass] = []
    job = None
    for drawn in noises:
        if not isinstance(outcome, Continues):
            break
        track = outcome.tracks[0]
        assert isinstance(track, AutoDIRTrack)
        job, track.stream = track.job, Recorded(list(drawn))
        done = _started(model, job)
        while track.step < track.steps:
            model.step([track])
        assert track.z is not None
        height, width = image.shape[-2:]
        done.latent, done.diffused = track.z, model.air.decode(track.z[None])[0, :, :height, :width]
        (outcome,) = model.finish([track])
        done.restored = job.result
        passes.append(done)
    if isinstance(outcome, Restored) and outcome.report.stop_reason == "clean":
        before = _started(model, job) if job else _untouched(model, image, outcome)
        passes.append(replace(before, label=CLEAN))
    return passes


def _started(model: AutoDIR, job: Job) -> Pass:
    """A pass as it begins; what a prompt asked for has no mixture of its own."""
    left = renormalized(job.before, job.remaining)
    return Pass(image=job.image, probabilities=left, condition=model.assessor.condition(left), label=job.label)


def _untouched(model: AutoDIR, image: Tensor, outcome: Restored) -> Pass:
    found = {name: outcome.report.degradations[name] for name in model.config.names}
    return Pass(image=image, probabilities=found, condition=model.assessor.condition(found))


def automatic(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    count = _passes(vectors)
    noises = vectors["noises"][:, 0].chunk(count) if count else ()  # the first 'no' may come before any pass
    controls = Controls(strict=True, fidelity=1.0, steps=len(noises[0]) if noises else None)
    image = to_tensor(vectors["image_u8"].numpy())
    passes = follow(model, image, controls, noises)
    said = path.with_suffix("").with_name("pipeline.json")
    if said.is_file():
        yield _labels(said, passes)
    yield from _compare("pipeline_auto", vectors, image, passes)


def told(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    noises, (text, picture) = vectors["noises"][:, 0], USER_GUIDANCE
    controls = Controls(
        strict=True, fidelity=1.0, steps=len(noises), prompt=USER_PROMPT, text_guidance=text, image_guidance=picture
    )
    image = to_tensor(vectors["image_u8"].numpy())
    yield from _compare("pipeline_user", vectors, image, follow(model, image, controls, [noises]))


def _passes(vectors: Vectors) -> int:
    return sum(1 for key in vectors if re.fullmatch(r"\d+\.I_res", key))


def _labels(path: Path, passes: Sequence[Pass]) -> Row:
    """Class lists and answers, pass by pass; classes that were repaired have left the list."""
    try:
        stated = json.loads(path.read_text())["labels"]["auto"]
        expected = [(list(prompts), degradation(word).name) for prompts, word in stated]
    except (OSError, ValueError, KeyError, TypeError, ControlsError) as error:
        raise BundleError(f"cannot read {path}: {error}. Fetch the vectors again.") from error
    found = [([prompt_of(name) for name in made.probabilities], made.label) for made in passes]
    wrong = sum(ours != theirs for ours, theirs in zip_longest(found, expected))
    return Row(
        group="pipeline_auto labels", absolute=wrong, relative=wrong / max(len(expected), 1),
        tolerance=0, measure="differ",
    )  # fmt: skip


def _compare(name: str, vectors: Vectors, image: Tensor, passes: Sequence[Pass]) -> Iterator[Row]:
    """A row for each kind of tensor over all passes."""
    made = [_named(done) for done in passes]
    for kind, (tolerance, measure) in TOLERANCES.items():
        expected = {int(key.split(".")[0]): key for key in vectors if re.fullmatch(rf"\d+\.{kind}", key)}
        if expected:
            pairs = [(_made(made, index, kind, vectors[key]), vectors[key][0]) for index, key in expected.items()]
            yield row(f"{name} {kind}", tolerance, pairs, measure)
    saved = [(_saved(key, vectors[key], image, passes), vectors[key]) for key in vectors if key.startswith("png.")]
    if saved:
        yield row(f"{name} saved bytes", 1, saved)


TOLERANCES: dict[str, tuple[float, Measure]] = {
    "biqa_in": (1e-3, "of range"),
    "probs": (1e-3, "absolute"),
    "e_auto": (1e-3, "absolute"),
    "z": (1e-4, "of range"),
    "I_sd": (1e-3, "absolute"),
    "I_res": (1e-3, "of range"),
}


def _named(done: Pass) -> dict[str, Tensor | None]:
    return {
        "biqa_in": done.image, "probs": torch.tensor(list(done.probabilities.values())), "e_auto": done.condition,
        "z": done.latent, "I_sd": done.diffused, "I_res": done.restored,
    }  # fmt: skip


def _made(made: Sequence[dict[str, Tensor | None]], index: int, kind: str, expected: Tensor) -> Tensor:
    """Ours, or values that are no numbers where our loop took another way: that is a miss, not an accident."""
    found = made[index][kind] if index < len(made) else None
    return found if found is not None and found.shape == expected[0].shape else torch.full_like(expected[0], torch.nan)


def _saved(key: str, expected: Tensor, image: Tensor, passes: Sequence[Pass]) -> Tensor:
    """The bytes that the published program writes under this name: the input, or one of a pass's two pictures."""
    where = re.fullmatch(r"png\..*?_step_(\d+)_(result|result_w_SCM)(_colorcorrect)?", key)
    if where is None:
        return torch.from_numpy(to_pixels(image, truncate=True))
    index, kind = int(where[1]), "I_sd" if where[2] == "result" else "I_res"
    picture = _named(passes[index])[kind] if index < len(passes) else None
    if picture is None:
        return torch.full(expected.shape, torch.nan)
    if where[3]:
        picture = match_colors(picture, image)
    return torch.from_numpy(to_pixels(picture, truncate=True))


CHECKS: dict[str, Check[AutoDIR]] = {"pipeline_auto": automatic, "pipeline_user": told}
