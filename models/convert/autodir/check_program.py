"""Checks the whole published program, pass by pass, against its recording: labels, images, and the saved bytes.

I_res, and biqa_in, the next pass's input, are measured against their own range: with random weights the SCM's values
grow from pass to pass, to 58 in the fourth, and rounding with them.  The saved bytes have an absolute tolerance.
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
from models.autodir.restorer import AutoDIR
from models.autodir.track import AutoDIRTrack, ImageRun
from models.color import match_colors
from models.controls import Controls, renormalized
from models.convert.verdicts import Check, Measure, Row, Vectors, compare_pairs
from models.errors import BundleError, ControlsError
from models.noise import NoiseStream
from models.pixels import to_pixels, to_tensor
from models.restorer import Continues, Request, Restored
from models.vocabulary import CLEAN, degradation

USER_PROMPT = "A photo needs haze artifact reduction"
USER_GUIDANCE = (3.0, 1.5)  # text, image


class RecordedNoise(NoiseStream):
    """The recorded noises of one pass, in place of a track's own."""

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
    """The input and results of one pass; the last pass may have stopped before restoring."""

    image: Tensor  # (3, H, W)
    probabilities: dict[str, float]
    condition: Tensor  # (L, D)
    label: str = CLEAN
    latent: Tensor | None = None  # (C, h, w)
    diffused: Tensor | None = None  # (3, H, W)
    restored: Tensor | None = None  # (3, H, W)


def run_passes(model: AutoDIR, image: Tensor, controls: Controls, noises: Sequence[Tensor]) -> list[Pass]:
    """Run the strict loop over (3, H, W) with recorded noises, for each pass a sequence of (C, h, w)."""
    (outcome,) = model.begin([Request(image=image, controls=controls, tile_px=max(image.shape[-2:]))])
    passes: list[Pass] = []
    run = None
    for pass_noises in noises:
        if not isinstance(outcome, Continues):
            break
        track = outcome.tracks[0]
        assert isinstance(track, AutoDIRTrack)
        run, track.stream = track.run, RecordedNoise(list(pass_noises))
        result = _started(model, run)
        while track.step < track.steps:
            model.step([track])
        assert track.z is not None
        height, width = image.shape[-2:]
        result.latent, result.diffused = track.z, model.air.decode(track.z[None])[0, :, :height, :width]
        (outcome,) = model.finish([track])
        result.restored = run.result
        passes.append(result)
    if isinstance(outcome, Restored) and outcome.report.stop_reason == "clean":
        before = _started(model, run) if run else _without_passes(model, image, outcome)
        passes.append(replace(before, label=CLEAN))
    return passes


def _started(model: AutoDIR, run: ImageRun) -> Pass:
    """Returns a pass before its first step, with the mixture of the remaining degradations as its condition."""
    left = renormalized(run.before, run.remaining)
    return Pass(image=run.image, probabilities=left, condition=model.assessor.condition(left), label=run.label)


def _without_passes(model: AutoDIR, image: Tensor, outcome: Restored) -> Pass:
    probabilities = {name: outcome.report.degradations[name] for name in model.config.names}
    return Pass(image=image, probabilities=probabilities, condition=model.assessor.condition(probabilities))


def automatic(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    count = _count_passes(vectors)
    noises = vectors["noises"][:, 0].chunk(count) if count else ()  # the image may be assessed as clean before any pass
    controls = Controls(strict=True, fidelity=1.0, steps=len(noises[0]) if noises else None)
    image = to_tensor(vectors["image_u8"].numpy())
    passes = run_passes(model, image, controls, noises)
    recording = path.with_name("pipeline.json")
    if recording.is_file():
        yield _labels(recording, passes)
    yield from _compare("pipeline_auto", vectors, image, passes)


def user_prompt(model: AutoDIR, vectors: Vectors, path: Path) -> Iterator[Row]:
    noises, (text_guidance, image_guidance) = vectors["noises"][:, 0], USER_GUIDANCE
    controls = Controls(
        strict=True,
        fidelity=1.0,
        steps=len(noises),
        prompt=USER_PROMPT,
        text_guidance=text_guidance,
        image_guidance=image_guidance,
    )
    image = to_tensor(vectors["image_u8"].numpy())
    yield from _compare("pipeline_user", vectors, image, run_passes(model, image, controls, [noises]))


def _count_passes(vectors: Vectors) -> int:
    return sum(1 for key in vectors if re.fullmatch(r"\d+\.I_res", key))


def _labels(path: Path, passes: Sequence[Pass]) -> Row:
    """Compare the remaining classes and the chosen class of each pass; repaired classes are removed."""
    try:
        recorded = json.loads(path.read_text())["labels"]["auto"]
        expected = [(list(prompts), degradation(word).name) for prompts, word in recorded]
    except (OSError, ValueError, KeyError, TypeError, ControlsError) as error:
        raise BundleError(f"cannot read {path}: {error}. Download the vectors again.") from error
    computed = [([prompt_of(name) for name in result.probabilities], result.label) for result in passes]
    wrong = sum(ours != theirs for ours, theirs in zip_longest(computed, expected))
    return Row(
        group="pipeline_auto labels", absolute=wrong, relative=wrong / max(len(expected), 1),
        tolerance=0, measure="differ",
    )  # fmt: skip


def _compare(name: str, vectors: Vectors, image: Tensor, passes: Sequence[Pass]) -> Iterator[Row]:
    """Yield a row for each kind of tensor, over all passes."""
    computed = [_tensors(result) for result in passes]
    for kind, (tolerance, measure) in TOLERANCES.items():
        expected = {int(key.split(".")[0]): key for key in vectors if re.fullmatch(rf"\d+\.{kind}", key)}
        if expected:
            pairs = [(_tensor(computed, index, kind, vectors[key]), vectors[key][0]) for index, key in expected.items()]
            yield compare_pairs(f"{name} {kind}", tolerance, pairs, measure)
    saved = [
        (_saved_bytes(key, vectors[key], image, passes), vectors[key]) for key in vectors if key.startswith("png.")
    ]
    if saved:
        yield compare_pairs(f"{name} saved bytes", 1, saved)


TOLERANCES: dict[str, tuple[float, Measure]] = {
    "biqa_in": (1e-3, "of range"),
    "probs": (1e-3, "absolute"),
    "e_auto": (1e-3, "absolute"),
    "z": (1e-4, "of range"),
    "I_sd": (1e-3, "absolute"),
    "I_res": (1e-3, "of range"),
}


def _tensors(result: Pass) -> dict[str, Tensor | None]:
    """Returns the tensors of a pass by their names in the vectors."""
    return {
        "biqa_in": result.image, "probs": torch.tensor(list(result.probabilities.values())), "e_auto": result.condition,
        "z": result.latent, "I_sd": result.diffused, "I_res": result.restored,
    }  # fmt: skip


def _tensor(computed: Sequence[dict[str, Tensor | None]], index: int, kind: str, expected: Tensor) -> Tensor:
    """Returns the tensor of a pass; NaN, which misses the tolerance, if our loop has no such pass or another shape."""
    found = computed[index][kind] if index < len(computed) else None
    return found if found is not None and found.shape == expected[0].shape else torch.full_like(expected[0], torch.nan)


def _saved_bytes(key: str, expected: Tensor, image: Tensor, passes: Sequence[Pass]) -> Tensor:
    """Returns the pixels that the published program saves under this name: the input or an image of a pass."""
    match = re.fullmatch(r"png\..*?_step_(\d+)_(result|result_w_SCM)(_colorcorrect)?", key)
    if match is None:
        return torch.from_numpy(to_pixels(image, truncate=True))
    index, kind = int(match[1]), "I_sd" if match[2] == "result" else "I_res"
    output = _tensors(passes[index])[kind] if index < len(passes) else None
    if output is None:
        return torch.full(expected.shape, torch.nan)
    if match[3]:
        output = match_colors(output, image)
    return torch.from_numpy(to_pixels(output, truncate=True))


PROGRAM_CHECKS: dict[str, Check[AutoDIR]] = {"pipeline_auto": automatic, "pipeline_user": user_prompt}
