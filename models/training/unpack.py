"""`python -m models.training unpack`: writes the networks of a bundle as the files of the stages that trained them.

So a bundle can be trained on without the runs that it came from: each file serves where `best.safetensors` of its
stage does.  Tokens without a row of their own (models.networks.token_table) get that of all the others.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from models.autodir.clip_weights import CLIP, read_clip
from models.bundle import Manifest, find_bundle, read_manifest, read_weights, verify_bundle
from models.errors import TrainingError
from models.networks.clip import VOCABULARY
from models.networks.token_table import expanded
from models.training.core.slimming import SPECIALIST
from models.training.core.text_encoder import is_text_parameter
from models.training.core.trainer import save_weights

CPU = torch.device("cpu")
State = Mapping[str, Tensor]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="name or folder of a bundle of the family autodir or daclip")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files; existing ones are replaced")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Write the files; returns the exit code.

    Raises:
        TrainingError: the bundle is of another family.
        BundleError: the bundle cannot be read.
    """
    bundle = find_bundle(arguments.bundle)
    verify_bundle(bundle)
    manifest = read_manifest(bundle)
    if manifest.family not in ("autodir", "daclip"):
        raise TrainingError(
            f"{bundle} is a {manifest.family} bundle. Only autodir and daclip bundles have stages here."
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    for stage, state in stage_files(bundle, manifest).items():
        save_weights({name: value.clone() for name, value in state.items()}, arguments.out / f"{stage}.safetensors")
        console.print(f"wrote {arguments.out / stage}.safetensors", markup=False)
    return 0


def stage_files(bundle: Path, manifest: Manifest) -> dict[str, State]:
    """Returns the tensors of each stage's file, in float32."""
    parts = {part: read_weights(bundle, manifest, part, CPU) for part in manifest.weights if part != CLIP}
    files: dict[str, State] = {part.removeprefix(SPECIALIST): _floats(state) for part, state in parts.items()}
    if "daclip" in files:
        files["daclip"] = expanded(files["daclip"], "clip.", VOCABULARY)
    if CLIP in manifest.weights:
        clip = expanded(_floats(read_clip(bundle, manifest, CPU)), "", VOCABULARY)
        files["text"] = {name: value for name, value in clip.items() if is_text_parameter(name)}
        files["assessor"] = {f"clip.{name}": value for name, value in clip.items()}
        own = {
            name.removeprefix("visual.own."): value for name, value in clip.items() if name.startswith("visual.own.")
        }
        if own:
            files["glance"] = {f"clip.visual.{name}": value for name, value in own.items()}
    return files


def _floats(state: State) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
