"""Learned metrics, each by a library of others and weights from the user's own disk: nothing is ever downloaded.

LPIPS (Zhang 2018, AlexNet, v0.1) and DISTS (Ding 2020) come from torchmetrics, CLIP-IQA (Wang 2023) from piq, MUSIQ (Ke
2021, KonIQ) from pyiqa, Inception features for FID (Heusel 2017) from torch-fidelity.  Where a library or a file is
missing there is a note, and no number under that name.

Shapes:  B C H W.  Libraries get RGB (1, 3, H, W) float32 in [0, 1].
"""

import importlib
import pickle
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import ControlsError
from models.evaluation.pairs import Picture
from models.networks.torchvision_mend import mend_torchvision
from models.optional import not_none

Score = Callable[[Tensor, Tensor | None], float]
"""From a picture and its truth, None where the metric needs none, to a number."""
Features = Callable[[Picture], NDArray[np.float32]]
"""From a picture to its (D,) features."""
Device = str | torch.device

EXTRA = "pip install 'undegrade[metrics]'"


def torch_cache() -> Path:
    """Where torchvision and others keep weights; TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def clip_cache() -> Path:
    """Where piq and OpenAI's program keep CLIP."""
    return Path("~/.cache/clip").expanduser()


def pyiqa_cache() -> Path:
    return Path(torch.hub.get_dir()) / "pyiqa"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A metric: which way is better, and what it needs: modules, how they are installed, files and their folder."""

    name: str
    lower_is_better: bool
    needs_truth: bool
    modules: tuple[str, ...]
    install: str
    folder: Callable[[], Path]
    files: tuple[str, ...]

    def lacking(self) -> str | None:
        """Why it cannot be measured here, as a sentence with what to do; None where nothing is missing."""
        folder = self.folder()
        modules = [name for name in self.modules if find_spec(name) is None]
        files = [name for name in self.files if not (folder / name).is_file()]
        missing = [f"{' and '.join(modules)} ({self.install})"] if modules else []
        if files:
            missing.append(f"{' and '.join(files)} in {folder} (put it there yourself; undegrade downloads no weights)")
        if missing:
            return f"{self.name} was not measured: there is no {', and no '.join(missing)}"
        harmful = next((name for name in self.files if not _plain(folder / name)), None)
        if harmful is not None:
            return f"{self.name} was not measured: {folder / harmful} holds more than weights, or is cut short"
        return None


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="lpips",
            lower_is_better=True,
            needs_truth=True,
            modules=("torchmetrics",),
            install=EXTRA,
            folder=torch_cache,
            files=("alexnet-owt-7be5be79.pth",),
        ),
        Kind(
            name="dists",
            lower_is_better=True,
            needs_truth=True,
            modules=("torchmetrics",),
            install=EXTRA,
            folder=torch_cache,
            files=("vgg16-397923af.pth",),
        ),
        Kind(
            name="clip-iqa",
            lower_is_better=False,
            needs_truth=False,
            modules=("piq",),
            install=EXTRA,
            folder=clip_cache,
            files=("RN50.pt", "clipiqa_tokens.pt"),
        ),
        Kind(
            name="musiq",
            lower_is_better=False,
            needs_truth=False,
            modules=("pyiqa",),
            install="pip install pyiqa; not among our extras, since its license forbids commercial use",
            folder=pyiqa_cache,
            files=("musiq_koniq_ckpt-e95806b9.pth",),
        ),
        Kind(
            name="fid",
            lower_is_better=True,
            needs_truth=True,
            modules=("torch_fidelity",),
            install=EXTRA,
            folder=torch_cache,
            files=("weights-inception-2015-12-05-6726825d.pth",),
        ),
    )
}
"""`fid` alone is of a set of pictures; the others are of one."""

FID = "fid"


@dataclass(frozen=True, kw_only=True)
class Judges:
    """The metrics that can be measured here, and a note for each that cannot."""

    scores: dict[str, Score]
    features: Features | None
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.scores, *([FID] if self.features else []))

    def measure(self, picture: Picture, truth: Picture | None) -> dict[str, float]:
        """Every metric of one picture that can be told with what there is."""
        if not self.scores:
            return {}
        shown, right = _unit(picture), None if truth is None else _unit(truth)
        asked = [name for name in self.scores if right is not None or not KINDS[name].needs_truth]
        with torch.inference_mode():
            return {name: self.scores[name](shown, right) for name in asked}


NO_JUDGES = Judges(scores={}, features=None, notes=())


def open_judges(names: Sequence[str], device: Device = "cpu") -> Judges:
    """Load the metrics asked for.

    Raises:
        ControlsError: a name is no metric's.
    """
    for name in names:
        if name not in KINDS:
            raise ControlsError(f"got metric {name!r}, expected some of {', '.join(KINDS)}")
    lacking = {name: KINDS[name].lacking() for name in dict.fromkeys(names)}
    there = [name for name, why in lacking.items() if why is None]
    if there:
        mend_torchvision()  # torchmetrics, piq and pyiqa import it
    # pyiqa prints as it loads; stdout is for the table
    with redirect_stdout(sys.stderr):
        scores = {name: LOADERS[name](KINDS[name], device) for name in there if name != FID}
        features = _inception(KINDS[FID], device) if FID in there else None
    return Judges(scores=scores, features=features, notes=tuple(why for why in lacking.values() if why is not None))


def arrow(name: str) -> str:
    """A metric's name with the way that is better."""
    return f"{name} {'↓' if name in KINDS and KINDS[name].lower_is_better else '↑'}"


def read_names(entries: Iterable[str]) -> list[str]:
    """`lpips,dists` or one at a time."""
    return [name for entry in entries for name in entry.split(",") if name]


def _lpips(kind: Kind, device: Device) -> Score:
    metric = importlib.import_module("torchmetrics.image.lpip").LearnedPerceptualImagePatchSimilarity
    network = metric(net_type="alex", normalize=True).to(device)
    return lambda picture, truth: float(network(picture.to(device), not_none(truth).to(device)))


def _dists(kind: Kind, device: Device) -> Score:
    # the class, since torchmetrics' function reads VGG anew for every picture
    network = importlib.import_module("torchmetrics.functional.image.dists").DISTSNetwork().to(device).eval()
    return lambda picture, truth: float(network(picture.to(device), not_none(truth).to(device)))


def _clip_iqa(kind: Kind, device: Device) -> Score:
    network = importlib.import_module("piq").CLIPIQA(data_range=1.0).to(device)
    return lambda picture, _: float(network(picture.to(device)))


def _musiq(kind: Kind, device: Device) -> Score:
    weights = str(kind.folder() / kind.files[0])
    network = importlib.import_module("pyiqa").create_metric("musiq", device=device, pretrained_model_path=weights)
    return lambda picture, _: float(network(picture.to(device)))


def _inception(kind: Kind, device: Device) -> Features:
    extractor = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    network = extractor("inception-v3-compat", ["2048"], str(kind.folder() / kind.files[0])).to(device).eval()

    def features(picture: Picture) -> NDArray[np.float32]:
        with torch.inference_mode():
            (found,) = network(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device))
        return np.asarray(found[0].float().cpu().numpy())

    return features


LOADERS: dict[str, Callable[[Kind, Device], Score]] = {
    "lpips": _lpips,
    "dists": _dists,
    "clip-iqa": _clip_iqa,
    "musiq": _musiq,
}


def _unit(picture: Picture) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None].div_(255).contiguous()


def _plain(path: Path) -> bool:
    """Whether a file holds tensors alone: the libraries unpickle whatever they find, which could be a program."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of TorchScript, which is asked about below
            torch.load(path, map_location="meta", weights_only=True)
    except RuntimeError as error:
        # CLIP's own archive is TorchScript, which piq opens as such
        return "TorchScript" in str(error)
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError):
        return False
    return True
