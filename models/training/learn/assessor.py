"""Teaches the assessor of a bundle a new degradation: its word, and how it looks."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.autodir.assessor import Assessor
from models.autodir.config import AutoDIRConfig
from models.training.core.trainer import save_weights
from models.training.data.dataset import as_tensor
from models.training.data.own_pairs import OwnPair, draw_crop
from models.training.data.photos import PhotoPool
from models.training.learn.evidence import Evidence, Learned, encoder_of, evidence_of, train_last_layers
from models.training.learn.replay import held_evidence, old_evidence, shipped_evidence
from models.training.learn.word import teach_word
from models.views import overview
from models.vocabulary import CLEAN

OLD_CROPS, HELD_OLD_EACH = 240, 12
PAIR_CROPS, HELD_PAIR_CROPS = 100, 20
"""Crops of all pairs together; a pair has at least four."""

Say = Callable[[str], None]


def new_names(config: AutoDIRConfig, name: str) -> tuple[str, ...]:
    """Returns the names of the bundle with the new one, "clean" last."""
    return (*(entry for entry in config.names if entry != CLEAN), name, CLEAN)


def extended(assessor: Assessor, names: Sequence[str]) -> Assessor:
    """Returns an assessor with more names, on the same networks."""
    wider = Assessor(assessor.config, names, assessor.most_views, assessor.overview, assessor.wary)
    wider.clip = assessor.clip
    return wider.eval()


def teach_assessor(
    old: Assessor, name: str, pools: tuple[PhotoPool, PhotoPool], train: Sequence[OwnPair], held_out: Sequence[OwnPair],
    work: Path, seed: int, say: Say,
) -> tuple[Assessor, Learned]:  # fmt: skip
    """Train the word and the last layers in place; returns the assessor with the new name.

    Args:
        pools: undamaged photos, to train with synthetic damage and to measure with it.
        work: the folder that keeps the evidence of an interrupted run.
    """
    encoder_of(old)
    names = (*(entry for entry in old.names if entry != CLEAN), name, CLEAN)
    kept = work / "evidence.safetensors"
    if not kept.exists():
        evidence = gather(old, names, name, pools, train, held_out, seed, say)
        save_weights(vars(evidence), kept)
    stored = load_file(kept)
    evidence = Evidence(**{key: value.float() if value.is_floating_point() else value for key, value in stored.items()})
    cosine = teach_word(old.clip, old.names, name, seed)
    say(f"the word {name!r} resembles the other prompts by at most {cosine:.2f} (cosine)")
    assessor = extended(old, names)
    prompts = assessor.prompts()[1]
    learned = train_last_layers(assessor, prompts, evidence, names.index(name), seed)
    say(
        f"assessor, single crops: {name} {learned.new:.0%} right; the others {learned.old_before:.1%} before, "
        f"{learned.old_after:.1%} after"
    )
    return assessor, learned


def gather(
    assessor: Assessor, names: Sequence[str], name: str, pools: tuple[PhotoPool, PhotoPool], train: Sequence[OwnPair],
    held_out: Sequence[OwnPair], seed: int, say: Say,
) -> Evidence:  # fmt: skip
    """Compute the evidence of all crops that the last layers learn from."""
    side = assessor.config.vision.image_size
    say("assessor: looking at the photos")
    damaged, undamaged = pair_crops(train, side, PAIR_CROPS, seed)
    held, _ = pair_crops(held_out, side, HELD_PAIR_CROPS, seed + 1)
    shipped = shipped_evidence(assessor, names)
    if shipped is None:
        old = old_evidence(assessor, names, pools[0], OLD_CROPS, seed)
        held_old, labels = held_evidence(assessor, names, pools[1], HELD_OLD_EACH)
    else:  # many photos that the user does not have
        old = torch.cat([shipped.old, old_evidence(assessor, names, pools[0], OLD_CROPS // 2, seed)])
        held_old, labels = shipped.held_old, shipped.held_labels
    return Evidence(
        damaged=evidence_of(assessor, damaged), undamaged=evidence_of(assessor, undamaged), old=old, held_old=held_old,
        held_labels=labels, held_damaged=evidence_of(assessor, held),
    )  # fmt: skip


def pair_crops(pairs: Sequence[OwnPair], side: int, count: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Returns about `count` damaged and undamaged views (3, side, side): native crops, and whole photos made small."""
    rng = np.random.default_rng(seed)
    each = max(4, math.ceil(count / len(pairs)))
    damaged, undamaged = [], []
    for pair in pairs:
        for _ in range(each):
            one, other = draw_crop(pair, rng, side)
            damaged.append(as_tensor(one))
            undamaged.append(as_tensor(other))
        whole = torch.from_numpy(np.array(pair.pixels())).permute(2, 0, 1).float().div(127.5).sub(1)  # (6, H, W)
        for part, views in ((whole[:3], damaged), (whole[3:], undamaged)):
            views += list(overview(part, side))
    return damaged, undamaged
