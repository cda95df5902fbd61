"""Where the examples of a stage come from: photos with synthetic damage, a user's own pairs, or a mix of both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.errors import TrainingError
from models.training.core.run_config import RunConfig
from models.training.core.trainer import Validation
from models.training.core.validation import VALIDATION_SEED, score_restoration, validation_examples
from models.training.data.dataset import DegradedPairs, Example
from models.training.data.degradations import SYNTHESIZERS
from models.training.data.own_pairs import MixedExamples, OwnPair, OwnPairs, PairExamples
from models.training.data.photos import PhotoPool
from models.vocabulary import CLEAN

MIXED_SHARE = 0.5
"""The default share of own pairs where there are photos, too."""
OWN = " (own pairs)"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The held-out examples of a degradation; `title` names them in the log."""

    title: str
    name: str
    example: Example


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a stage trains on.

    Attributes:
        photos: pools of training and held-out photos; None trains on own pairs alone.
        pairs: own pairs; None trains on synthetic damage alone.
        share: the share of the examples that come from own pairs.
        clean_share: the share of the own pairs that show the undamaged picture alone.
    """

    photos: tuple[PhotoPool, PhotoPool] | None = None
    pairs: OwnPairs | None = None
    share: float = 1.0
    clean_share: float = 0.0

    def with_own(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the names with those of own pairs, "clean" last."""
        own = self.pairs.names if self.pairs else ()
        return (*dict.fromkeys(name for name in (*names, *own) if name != CLEAN), CLEAN)

    def examples(self, run: RunConfig, names: Sequence[str]) -> Dataset[Example]:
        """Returns examples without end; `names` is the order of the labels.

        Raises:
            TrainingError: there are neither photos nor own pairs.
        """
        synthetic = (
            None if self.photos is None else DegradedPairs(self.photos[0], run.crop, run.mixture, names, run.seed)
        )
        own = self._own_examples(run, names)
        if own is None or synthetic is None:
            only = own or synthetic
            if only is None:
                raise TrainingError("got no --images and no --pairs. Give a folder of photos, of pairs, or both.")
            return only
        return MixedExamples(own, synthetic, self.share, run.seed)

    def _own_examples(self, run: RunConfig, names: Sequence[str]) -> Dataset[Example] | None:
        if self.pairs is None:
            return None
        return PairExamples(self.pairs.train, run.crop.crop_px, names, run.seed, self.clean_share)

    def held_out(self, names: Sequence[str], crop_px: int, each: int) -> list[HeldOut]:
        """Returns `each` held-out examples of each name that there are examples of; the same in every run."""
        found = []
        if self.photos is not None:
            drawn = [name for name in names if name == CLEAN or name in SYNTHESIZERS]
            made = validation_examples(self.photos[1], names, crop_px=crop_px, each=each, drawn=drawn)
            found += [HeldOut(title=name, name=name, example=e) for name, e in zip(drawn, made, strict=True)]
        taken = {entry.title for entry in found}
        if self.pairs is None:
            return found
        for name in self.pairs.names:
            own = [pair for pair in self.pairs.held_out if pair.name == name]
            if own:
                title = name + OWN if name in taken else name
                found.append(HeldOut(title=title, name=name, example=own_batch(own, names, crop_px, each)))
        return found


def score_held_out(held_out: Sequence[HeldOut], restore: Callable[[Example], Sequence[Tensor]]) -> Validation:
    """Returns the PSNR gain over the input for each title (models.training.core.validation.score_restoration)."""
    return score_restoration([entry.example for entry in held_out], [entry.title for entry in held_out], restore)


def own_batch(pairs: Sequence[OwnPair], names: Sequence[str], crop_px: int, each: int) -> Example:
    """Returns one batch of `each` fixed crops, as evenly from the pairs as possible."""
    drawn = []
    for index in range(each):
        examples = PairExamples([pairs[index % len(pairs)]], crop_px, names, VALIDATION_SEED)
        drawn.append(examples[index])
    return {key: torch.stack([example[key] for example in drawn]) for key in drawn[0]}
