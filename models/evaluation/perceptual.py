"""Learned metrics from other libraries, with weights that the user supplies: nothing is ever downloaded.

LPIPS (Zhang 2018, AlexNet, v0.1) and DISTS (Ding 2020) come from torchmetrics, CLIP-IQA (Wang 2023) from piq, MUSIQ (Ke
2021, KonIQ) from pyiqa, Inception features for FID (Heusel 2017) from torch-fidelity.  If a library or a file is
missing, the report contains a note and no value for that metric.

Shapes:  B C H W.  The libraries expect RGB (1, 3, H, W) float32 in [0, 1].
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
"""Maps a picture and its ground truth (None if the metric needs none) to a number."""
Features = Callable[[Picture], NDArray[np.float32]]
"""Maps a picture to its (D,) features."""
Device = str | torch.device

EXTRA = "pip install 'undegrade[metrics]'"


def torch_cache() -> Path:
    """Returns the folder in which torchvision and other libraries keep weights; TORCH_HOME moves it."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def clip_cache() -> Path:
    """Returns the folder in which piq and OpenAI's program keep CLIP."""
    return Path("~/.cache/clip").expanduser()


def pyiqa_cache() -> Path:
    return Path(torch.hub.get_dir()) / "pyiqa"


@dataclass(frozen=True, kw_only=True)
class LearnedMetric:
    """A metric, its direction, and its requirements: modules, how to install them, weight files and their folder."""

    name: str
    lower_is_better: bool
    needs_truth: bool
    modules: tuple[str, ...]
    install: str
    folder: Callable[[], Path]
    files: tuple[str, ...]

    def why_unavailable(self) -> str | None:
        """Returns why the metric cannot be measured here and what to do; None if nothing is missing."""
        folder = self.folder()
        modules = [name for name in self.modules if find_spec(name) is None]
        files = [name for name in self.files if not (folder / name).is_file()]
        missing = [f"{' and '.join(modules)} ({self.install})"] if modules else []
        if files:
            missing.append(f"{' and '.join(files)} in {folder} (copy it there; undegrade downloads no weights)")
        if missing:
            return f"{self.name} was not measured: missing {', and '.join(missing)}"
        unsafe = next((name for name in self.files if not _holds_weights_only(folder / name)), None)
        if unsafe is not None:
            return f"{self.name} was not measured: {folder / unsafe} contains more than weights, or is incomplete"
        return None


LEARNED_METRICS: dict[str, LearnedMetric] = {
    metric.name: metric
    for metric in (
        LearnedMetric(
            name="lpips",
            lower_is_better=True,
            needs_truth=True,
            modules=("torchmetrics",),
            install=EXTRA,
            folder=torch_cache,
            files=("alexnet-owt-7be5be79.pth",),
        ),
        LearnedMetric(
            name="dists",
            lower_is_better=True,
            needs_truth=True,
            modules=("torchmetrics",),
            install=EXTRA,
            folder=torch_cache,
            files=("vgg16-397923af.pth",),
        ),
        LearnedMetric(
            name="clip-iqa",
            lower_is_better=False,
            needs_truth=False,
            modules=("piq",),
            install=EXTRA,
            folder=clip_cache,
            files=("RN50.pt", "clipiqa_tokens.pt"),
        ),
        LearnedMetric(
            name="musiq",
            lower_is_better=False,
            needs_truth=False,
            modules=("pyiqa",),
            install="pip install pyiqa; not in our extras, because its license forbids commercial use",
            folder=pyiqa_cache,
            files=("musiq_koniq_ckpt-e95806b9.pth",),
        ),
        LearnedMetric(
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
"""`fid` measures a set of photos; the others measure one photo."""

FID = "fid"


@dataclass(frozen=True, kw_only=True)
class LoadedMetrics:
    """The metrics that are available here, and a note for each that is not."""

    scores: dict[str, Score]
    features: Features | None
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.scores, *([FID] if self.features else []))

    def measure(self, picture: Picture, truth: Picture | None) -> dict[str, float]:
        """Returns every metric of one picture; without a ground truth, only those that need none."""
        if not self.scores:
            return {}
        image, target = _unit_tensor(picture), None if truth is None else _unit_tensor(truth)
        names = [name for name in self.scores if target is not None or not LEARNED_METRICS[name].needs_truth]
        with torch.inference_mode():
            return {name: self.scores[name](image, target) for name in names}


NO_METRICS = LoadedMetrics(scores={}, features=None, notes=())


def load_metrics(names: Sequence[str], device: Device = "cpu") -> LoadedMetrics:
    """Load the requested metrics.

    Raises:
        ControlsError: a name is not that of a metric.
    """
    for name in names:
        if name not in LEARNED_METRICS:
            raise ControlsError(f"got metric {name!r}, expected one of {', '.join(LEARNED_METRICS)}")
    notes = {name: LEARNED_METRICS[name].why_unavailable() for name in dict.fromkeys(names)}
    available = [name for name, note in notes.items() if note is None]
    if available:
        mend_torchvision()  # torchmetrics, piq and pyiqa import torchvision
    # pyiqa prints while it loads; stdout is only for the table
    with redirect_stdout(sys.stderr):
        scores = {name: LOADERS[name](LEARNED_METRICS[name], device) for name in available if name != FID}
        features = _inception(LEARNED_METRICS[FID], device) if FID in available else None
    return LoadedMetrics(
        scores=scores, features=features, notes=tuple(note for note in notes.values() if note is not None)
    )


def name_with_direction(name: str) -> str:
    """Returns the name of a metric with an arrow: ↑ if higher is better, ↓ if lower is better."""
    return f"{name} {'↓' if name in LEARNED_METRICS and LEARNED_METRICS[name].lower_is_better else '↑'}"


def parse_metric_names(entries: Iterable[str]) -> list[str]:
    """Split entries such as `lpips,dists` into names."""
    return [name for entry in entries for name in entry.split(",") if name]


def _lpips(metric: LearnedMetric, device: Device) -> Score:
    network_class = importlib.import_module("torchmetrics.image.lpip").LearnedPerceptualImagePatchSimilarity
    network = network_class(net_type="alex", normalize=True).to(device)
    return lambda picture, truth: float(network(picture.to(device), not_none(truth).to(device)))


def _dists(metric: LearnedMetric, device: Device) -> Score:
    # the class, because torchmetrics' function loads VGG again for every picture
    network = importlib.import_module("torchmetrics.functional.image.dists").DISTSNetwork().to(device).eval()
    return lambda picture, truth: float(network(picture.to(device), not_none(truth).to(device)))


def _clip_iqa(metric: LearnedMetric, device: Device) -> Score:
    network = importlib.import_module("piq").CLIPIQA(data_range=1.0).to(device)
    return lambda picture, _: float(network(picture.to(device)))


def _musiq(metric: LearnedMetric, device: Device) -> Score:
    weights = str(metric.folder() / metric.files[0])
    network = importlib.import_module("pyiqa").create_metric("musiq", device=device, pretrained_model_path=weights)
    return lambda picture, _: float(network(picture.to(device)))


def _inception(metric: LearnedMetric, device: Device) -> Features:
    extractor = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
    network = extractor("inception-v3-compat", ["2048"], str(metric.folder() / metric.files[0])).to(device).eval()

    def features(picture: Picture) -> NDArray[np.float32]:
        with torch.inference_mode():
            (found,) = network(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].to(device))
        return np.asarray(found[0].float().cpu().numpy())

    return features


LOADERS: dict[str, Callable[[LearnedMetric, Device], Score]] = {
    "lpips": _lpips,
    "dists": _dists,
    "clip-iqa": _clip_iqa,
    "musiq": _musiq,
}


def _unit_tensor(picture: Picture) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None].div_(255).contiguous()


def _holds_weights_only(path: Path) -> bool:
    """Returns whether a file contains only tensors; the libraries unpickle any file, and a pickle can run code."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns about TorchScript, which is handled below
            torch.load(path, map_location="meta", weights_only=True)
    except RuntimeError as error:
        # CLIP's archive is TorchScript, and piq opens it as such
        return "TorchScript" in str(error)
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError):
        return False
    return True
