"""Measures a bundle on pairs that it has not seen: what it finds, what it gains, and whether clean photos stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.autodir.assessor import prompt_of
from models.controls import Controls
from models.drive import restore_one
from models.psnr import psnr
from models.restorer import Request, Restorer
from models.training.core.validation import validation_examples
from models.training.data.own_pairs import OwnPair
from models.training.data.photos import PhotoPool
from models.training.learn.replay import known_synthetic
from models.vocabulary import CLEAN

CROP_PX = 384
OLD_CROP_PX, OLD_EACH = 192, 4


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Mean PSNR in dB of the inputs and of the results, and shares in [0, 1].

    Attributes:
        automatic: of `restore` without options.
        told: of `restore` with the prompt of the degradation; None for a bundle that does not know it.
        found: the share of damaged photos whose most probable damage is the new one.
        repaired: the share of damaged photos that the loop repaired with it.
        unchanged: the share of undamaged photos that came back unchanged.
    """

    pairs: int
    input: float
    automatic: float
    told: float | None
    found: float
    repaired: float
    unchanged: float


@dataclass(frozen=True, kw_only=True)
class StrictGains:
    """PSNR gains in dB of `restore --strict --prompt`: on pairs of the new degradation, and on each old kind.

    The old kinds are synthetic damage of undamaged photos.
    """

    new: float
    old: Mapping[str, float]


def measure_strict(
    restorer: Restorer, pairs: Sequence[OwnPair], name: str, photos: PhotoPool, kinds: Sequence[str]
) -> StrictGains:
    """Restore with the published loop what it is told to restore; `kinds` are the old degradations."""
    kinds = [kind for kind in known_synthetic(kinds) if kind != CLEAN]
    made = validation_examples(photos, (*kinds, CLEAN), OLD_CROP_PX, OLD_EACH, drawn=kinds)
    old = {
        kind: _strict_gain(restorer, list(zip(batch["degraded"], batch["target"], strict=True)), kind)
        for kind, batch in zip(kinds, made, strict=True)
    }
    return StrictGains(new=_strict_gain(restorer, [center(pair) for pair in pairs], name), old=old)


def _strict_gain(restorer: Restorer, examples: Sequence[tuple[Tensor, Tensor]], name: str) -> float:
    controls = Controls(strict=True, prompt=prompt_of(name))
    gains = []
    for degraded, truth in examples:
        restored = restore_one(restorer, Request(image=degraded, controls=controls)).image
        gains.append(_psnr(restored, truth) - _psnr(degraded, truth))
    return _mean(gains)


def measure(restorer: Restorer, pairs: Sequence[OwnPair], name: str) -> Gains:
    """Restore the center of each pair, at most CROP_PX a side, and of its undamaged photo."""
    knows = name in restorer.names
    rows = []
    for pair in pairs:
        degraded, truth = center(pair)
        automatic = restore_one(restorer, Request(image=degraded, controls=Controls()))
        told = _told(restorer, degraded, name) if knows else None
        clean = restore_one(restorer, Request(image=truth, controls=Controls()))
        found = restorer.assess([degraded])[0].label == name
        repaired = any(step.label == name and step.kept for step in automatic.report.passes)
        rows.append(
            (
                _psnr(degraded, truth), _psnr(automatic.image, truth), None if told is None else _psnr(told, truth),
                found, repaired, not any(step.kept for step in clean.report.passes),
            )
        )  # fmt: skip
    before, after, told_db, found_all, repaired_all, unchanged = zip(*rows, strict=True)
    return Gains(
        pairs=len(rows), input=_mean(before), automatic=_mean(after), told=_mean(told_db) if knows else None,
        found=_mean(found_all), repaired=_mean(repaired_all), unchanged=_mean(unchanged),
    )  # fmt: skip


def center(pair: OwnPair) -> tuple[Tensor, Tensor]:
    """Returns the centers of both photos, (3, h, w) in [-1, 1], at most CROP_PX a side."""
    pixels = pair.pixels()
    top, left = ((side - CROP_PX) // 2 if side > CROP_PX else 0 for side in pixels.shape[:2])
    window = np.array(pixels[top : top + CROP_PX, left : left + CROP_PX])
    both = torch.from_numpy(window).permute(2, 0, 1).float().div(127.5).sub(1)
    return both[:3].contiguous(), both[3:].contiguous()


def _told(restorer: Restorer, image: Tensor, name: str) -> Tensor:
    return restore_one(restorer, Request(image=image, controls=Controls(prompt=prompt_of(name)))).image


def _psnr(image: Tensor, truth: Tensor) -> float:
    return min(psnr(image.clamp(-1, 1), truth, peak=2.0), 100.0)


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(np.array(values, dtype=np.float64))), 3)
