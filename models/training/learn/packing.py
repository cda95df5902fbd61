"""Writes the bundle that has learned: the networks of the old one, the taught assessor, and the new specialist."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from models import golden
from models.autodir.assessor import Assessor, prompt_of
from models.autodir.clip_weights import own_tensors
from models.autodir.restorer import AutoDIR
from models.bundle import BundleDegradation, Manifest, read_stored, write_bundle, write_manifest
from models.families import load_restorer
from models.networks.token_table import TokenTable
from models.training.autodir.calibration import measure_floor, measure_strengths
from models.training.core.sources import own_batch
from models.training.core.validation import validation_examples
from models.training.data.dataset import Example
from models.training.data.own_pairs import OwnPair
from models.training.data.photos import PhotoPool
from models.training.learn.evidence import encoder_of
from models.training.learn.plan import LearnPlan
from models.training.learn.replay import known_synthetic
from models.training.learn.specialist import TrainedSpecialist
from models.training.learn.system import TrainedSystem
from models.vocabulary import CLEAN

CPU = torch.device("cpu")
CALIBRATION_PX, CALIBRATION_EACH, FLOOR_EACH = 192, 8, 2


def write_learned(
    plan: LearnPlan, manifest: Manifest, out: Path, assessor: Assessor, trained: TrainedSpecialist, count: int,
    system: TrainedSystem | None = None,
) -> Manifest:  # fmt: skip
    """Write the bundle to `out`, without calibration; returns its manifest.  `count` is the number of pairs."""
    networks: dict[str, Mapping[str, Tensor]] = {
        name: read_stored(plan.bundle, manifest, name, CPU) for name in manifest.weights
    }
    dtype = next(value.dtype for value in networks["clip"].values() if value.dtype.is_floating_point)
    networks |= {
        "clip": own_tensors(manifest.networks, assessor.clip.state_dict()),
        f"specialist-{plan.name}": trained.network.state_dict(),
    }
    if system is not None:
        networks |= {f"air-{plan.name}": system.air.state_dict(), f"scm-{plan.name}": system.scm.state_dict()}
    own = BundleDegradation(name=plan.name, prompt=prompt_of(plan.name), fidelity=1.0)
    others = [entry for entry in manifest.degradations if entry.name != CLEAN]
    clean = [entry for entry in manifest.degradations if entry.name == CLEAN]
    specialists = {**manifest.networks.get("specialists", {}), plan.name: asdict(trained.config)}
    clip, hidden = manifest.networks["clip"], encoder_of(assessor).hidden.out_features
    clip = {**clip, "tower": {**clip["tower"], "hidden": hidden}}
    if isinstance(table := assessor.clip.get_submodule("token_embedding"), TokenTable):  # the word's tokens joined it
        clip["text"] = {**clip["text"], "kept_tokens": table.kept}
    taught = {} if system is None else {"taught": [*manifest.networks.get("taught", ()), plan.name]}
    described = f"{manifest.description.rstrip('.')}, and {plan.name}, learned from {count} pairs."
    changed = manifest.model_copy(
        update={
            "name": plan.out.name, "version": "1", "description": described, "golden": None,
            "degradations": (*others, own, *clean),
            "networks": {**manifest.networks, "clip": clip, "specialists": specialists, **taught},
            "trained_on": f"{manifest.trained_on}; {plan.name}: {count} pairs of its owner", "quality": {},
        }
    )  # fmt: skip
    return write_bundle(out, changed, networks, dtype)


def calibrated(bundle: Path, manifest: Manifest, name: str, chosen: Sequence[OwnPair], photos: PhotoPool) -> Manifest:
    """Measure strength and floor of the new repair on pairs that it was not trained on, and write both."""
    names = [entry.name for entry in manifest.degradations]
    batch = own_batch(chosen, names, CALIBRATION_PX, CALIBRATION_EACH)
    strength = measure_strengths(_prompted(bundle), [batch], [name])[name]
    manifest = _written(bundle, manifest, name, strength=strength)
    synthetic = known_synthetic(names)
    made = validation_examples(photos, names, crop_px=CALIBRATION_PX, each=FLOOR_EACH, drawn=synthetic)
    examples: dict[str, Example] = {**dict(zip(synthetic, made, strict=True)), name: batch}
    floor = measure_floor(_prompted(bundle), examples, name, each=FLOOR_EACH)
    manifest = _written(bundle, manifest, name, floor=floor)
    return golden.record(load_restorer(bundle, CPU), bundle, manifest)


def degradation_of(manifest: Manifest, name: str) -> BundleDegradation:
    """Returns the entry of a degradation."""
    return next(entry for entry in manifest.degradations if entry.name == name)


def _written(bundle: Path, manifest: Manifest, name: str, **values: float) -> Manifest:
    entries = tuple(entry.model_copy(update=values) if entry.name == name else entry for entry in manifest.degradations)
    changed = manifest.model_copy(update={"degradations": entries})
    write_manifest(bundle, changed)
    return changed


def _prompted(bundle: Path) -> AutoDIR:
    """Load the bundle for requests with a prompt, whose assessment only fills the report: one view is enough."""
    restorer = load_restorer(bundle, CPU)
    assert isinstance(restorer, AutoDIR)
    restorer.assessor.most_views, restorer.assessor.overview = 1, 0.0
    return restorer
