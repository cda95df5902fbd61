"""What `undegrade learn` is asked for, and the folder in which an interrupted run finds its work again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from models.bundle import Manifest, manifest_sha256, read_manifest
from models.errors import ControlsError, TrainingError
from models.training.data.own_pairs import OwnPairs, load_own_pairs, split_by_hash
from models.vocabulary import MAX_WORD_CHARACTERS, degradation, is_known, is_plain

MIN_PAIRS = 4
VALIDATION = 0.15
"""The share of the pairs that choose the weights and calibrate the repair; they are not trained on either."""


@dataclass(frozen=True, kw_only=True)
class LearnPlan:
    """The options of a run.

    Attributes:
        folder: the pairs; see models.training.data.own_pairs.
        name: the name of the new degradation.
        bundle: the bundle that learns it; it is not changed.
        out: the new bundle.
        minutes: training time of the specialist.
        steps: a number of training steps instead.
        start: the specialist of the bundle to start with, "scratch", or None for the nearest one.
        images: photos whose synthetic damage keeps the old degradations; the undamaged photos of the pairs always do.
        test: pairs to evaluate on; None holds out a fifth of the pairs.
        strict_system: also train AIR and SCM, which `--strict` uses in place of specialists; each takes `minutes`, too.
    """

    folder: Path
    name: str
    bundle: Path
    out: Path
    minutes: float = 15.0
    steps: int | None = None
    batch: int = 8
    crop_px: int = 128
    seed: int = 0
    start: str | None = None
    images: tuple[Path, ...] = ()
    test: Path | None = None
    check: bool = True
    strict_system: bool = False

    @property
    def work(self) -> Path:
        """The folder of what is half done, beside the new bundle."""
        return self.out.with_name(self.out.name + ".learning")


@dataclass(frozen=True, kw_only=True)
class SplitPairs:
    """The pairs in three parts: `fit.train` to train on, `fit.held_out` to choose and calibrate, `test` to measure."""

    fit: OwnPairs
    test: OwnPairs

    @property
    def count(self) -> int:
        """The number of pairs without those of the test."""
        return len(self.fit.train) + len(self.fit.held_out)


def check_plan(plan: LearnPlan) -> Manifest:
    """Returns the manifest of the bundle.

    Raises:
        ControlsError: the name cannot be used, the new bundle exists, or an option does not fit.
        TrainingError: the bundle is of another family.
    """
    manifest = read_manifest(plan.bundle)
    if not is_plain(plan.name):
        raise ControlsError(
            f"got --name {plan.name!r}, expected a plain word: lower-case letters, digits and hyphens, at most "
            f"{MAX_WORD_CHARACTERS}, such as banding or lens-flare"
        )
    names = [entry.name for entry in manifest.degradations]
    if plan.name in names or (is_known(plan.name) and degradation(plan.name).name in names):
        raise ControlsError(f"the bundle {manifest.name} has {plan.name!r} already; it repairs {', '.join(names[:-1])}")
    if is_known(plan.name) and degradation(plan.name).name != plan.name:
        raise ControlsError(f"got --name {plan.name!r}, which is another word for {degradation(plan.name).name!r}")
    if plan.name in manifest.networks.get("specialists", {}):
        raise ControlsError(
            f"got --name {plan.name!r}, which is the name of a specialist of the bundle. Choose another, such as "
            f"my-{plan.name}."
        )
    degradation(plan.name)  # a word like a known one would be taken for a typing error
    if plan.out.exists():
        raise ControlsError(f"{plan.out} exists. Choose another --out, or delete it.")
    if manifest.family != "autodir":
        raise TrainingError(f"{plan.bundle} is a {manifest.family} bundle. Only autodir bundles learn by this command.")
    starts = [*manifest.networks.get("specialists", {}), "scratch"]
    if plan.start is not None and plan.start not in starts:
        raise ControlsError(f"got --start {plan.start!r}, expected one of {', '.join(starts)}")
    return manifest


def open_work(plan: LearnPlan) -> bool:
    """Create the folder of the run; returns whether an earlier one of the same plan is continued.

    Raises:
        ControlsError: the folder belongs to another plan.
    """
    note = plan.work / "plan.json"
    stated = {key: str(value) for key, value in asdict(plan).items()}
    stated["bundle"] = manifest_sha256(plan.bundle)
    stated["pairs"] = _fingerprint(plan.folder)
    for free in ("minutes", "steps", "strict_system"):  # a continued run may do more
        stated.pop(free)
    if note.exists():
        earlier = json.loads(note.read_text())
        if earlier != stated:
            differ = ", ".join(key for key in stated if earlier.get(key) != stated[key])
            raise ControlsError(
                f"{plan.work} belongs to a run with another {differ}. Delete it, or choose another --out."
            )
        return True
    plan.work.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(stated, indent=2) + "\n")
    return False


def split_pairs(plan: LearnPlan) -> SplitPairs:
    """Check, decode and split the pairs.

    Raises:
        TrainingError: there are fewer than MIN_PAIRS, or a pair cannot be used.
    """
    cache = plan.work / "pairs"
    found = load_own_pairs(plan.folder, cache, name=plan.name, check=plan.check)
    total = len(found.train) + len(found.held_out)
    if total < MIN_PAIRS:
        raise TrainingError(f"{plan.folder} has {total} pairs, expected at least {MIN_PAIRS}. Ten and more teach well.")
    if plan.test is None:
        test, rest = found.held_out, found.train
    else:
        given = load_own_pairs(plan.test, cache, name=plan.name, check=plan.check)
        test, rest = (*given.held_out, *given.train), (*found.held_out, *found.train)
    chosen, train = split_by_hash(rest, VALIDATION)
    return SplitPairs(
        fit=OwnPairs(train=tuple(train), held_out=tuple(chosen)), test=OwnPairs(train=(), held_out=tuple(test))
    )


def _fingerprint(folder: Path) -> str:
    """Returns a hash of the names, sizes and times of the files below a folder."""
    stamps = sorted(
        f"{path.relative_to(folder)}:{path.stat().st_size}:{path.stat().st_mtime_ns}"
        for path in folder.rglob("*")
        if path.is_file()
    )
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()
