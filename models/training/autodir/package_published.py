"""Writes an AutoDIR bundle of the published sizes from trained networks: `package-autodir --size published`.

The sizes are those in `config.json` beside the weights of each stage.  The loop is the published one: 100 steps, and
neither calibration nor specialists.
"""

import json
from pathlib import Path
from typing import Any

import torch

from models.autodir.assessor import prompt_of
from models.bundle import BundleDegradation, Manifest, write_bundle
from models.errors import TrainingError
from models.families import autodir_config
from models.training.core.weights_file import read_weights_file
from models.vocabulary import AUTODIR_NAMES, CLEAN, NOTHING, degradation

RESTRICTIONS = (
    "Trained by a user of undegrade. If it started from Stable Diffusion 1.5 or from AutoDIR's weights, the use "
    "restrictions of CreativeML OpenRAIL-M (Attachment A) apply; the authors of AutoDIR state no license for theirs."
)


def write_published(out: Path, assessor: Path, air: Path, scm: Path, version: str) -> Manifest:
    """Write the bundle in half precision; returns its manifest.

    Raises:
        TrainingError: a file is missing, or is not of this stage.
        BundleError: the sizes are not valid.
    """
    files = {"assessor": assessor, "air": air, "scm": scm}
    sizes = {stage: _network(path, stage) for stage, path in files.items()}
    manifest = Manifest(
        family="autodir", name=out.resolve().name, version=version,
        description="AutoDIR in the published sizes, trained with undegrade.",
        license="that of whoever trained it", restrictions=RESTRICTIONS,
        degradations=tuple(
            BundleDegradation(
                name=name, prompt=prompt_of(name),
                fidelity=(NOTHING if name == CLEAN else degradation(name)).fidelity,
            )
            for name in (*AUTODIR_NAMES, CLEAN)
        ),
        networks={"clip": sizes["assessor"], "air": sizes["air"], "scm": sizes["scm"], "loop": {}},
        weights={}, files={}, trained_on="see the config.json of its runs",
    )  # fmt: skip
    autodir_config(out, manifest)
    clip = {key.removeprefix("clip."): value for key, value in read_weights_file(assessor).items()}
    return write_bundle(
        out, manifest, {"clip": clip, "air": read_weights_file(air), "scm": read_weights_file(scm)}, torch.float16
    )


def _network(weights: Path, stage: str) -> Any:  # noqa: ANN401  # of JSON
    path = weights.parent / "config.json"
    try:
        return json.loads(path.read_text())[stage]["network"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} does not hold the sizes of the stage {stage} ({error}). Leave the files of a run in its folder."
        ) from error
