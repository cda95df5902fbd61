"""What AutoDIR's networks of the published sizes start from: `--size published --base PATH`.

    PATH                                          holds
    a bundle of the family AutoDIR                CLIP, AIR and SCM
    AutoDIR's released checkpoint                 CLIP, AIR and SCM
    Stable Diffusion 1.5, the original layout     AIR without the channels of the image condition; CLIP's text encoder
    CLIP ViT-L/14 with open_clip's names          CLIP (safetensors)

The sizes are those of the file.  As published, AIR starts from Stable Diffusion 1.5.  Its U-Net reads the four channels
of z_t; the weights of the four new channels, z_I, are 0 (arXiv:2310.10123).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from models.autodir.air import AIR, AIRConfig
from models.autodir.assessor import Assessor
from models.autodir.clip_weights import CLIP, read_clip
from models.bundle import read_manifest, read_weights
from models.convert.autodir import rules
from models.convert.autodir.conversion import plan_autodir
from models.convert.bundle_writer import Plan, plan_tensors
from models.convert.daclip.rules import controller_config
from models.convert.open_checkpoint import open_checkpoint
from models.convert.sizes import shapes_of
from models.errors import BundleError, TrainingError
from models.families import autodir_config
from models.networks.clip import ClipConfig, VisionConfig, build_clip
from models.networks.nafnet import NAFNetConfig
from models.training.core.weights_file import read_weights_file

SD_TEXT = "cond_stage_model.transformer.text_model."
SD_INPUT = f"{rules.UNET}input_blocks.0.0.weight"
WITH_AIR = "a bundle of the family AutoDIR, AutoDIR's checkpoint, or Stable Diffusion 1.5 in its original layout"
EXPECTED = f"expected {WITH_AIR}; for the assessor also CLIP ViT-L/14 with open_clip's names"
NO_VISION = VisionConfig(image_size=32, layers=1, width=64, patch_size=32)
"""An image encoder that stands for the missing one of Stable Diffusion; nothing reads it."""
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class PublishedBase:
    """Sizes and weights; a part that the file lacks is None.

    Attributes:
        text_only: the file has only the text encoder of CLIP.
        read: reads the weights of "clip", "air" or "scm" in float32.
    """

    path: Path
    clip: ClipConfig
    air: AIRConfig | None = None
    scm: NAFNetConfig | None = None
    text_only: bool = False
    read: Callable[[str], State]

    def assessor(self, names: tuple[str, ...]) -> Assessor:
        """Returns the frozen assessor, whose prompts condition AIR."""
        assessor = Assessor(self.clip, names).eval().requires_grad_(False)
        _fill(assessor.clip, self.read("clip"), self.path, strict=not self.text_only)
        assessor.forget_prompts()
        return assessor

    def denoiser(self) -> AIR:
        """Returns AIR with the weights of the file.

        Raises:
            TrainingError: it has none.
        """
        if self.air is None:
            raise TrainingError(f"{self.path} holds CLIP alone, expected {WITH_AIR}")
        network = AIR(self.air)
        _fill(network, self.read("air"), self.path)
        return network

    def fill_correction(self, network: nn.Module) -> None:
        """Copy the weights of the SCM into the network, if the file has one."""
        if self.scm is not None:
            _fill(network, self.read("scm"), self.path)


def open_base(path: Path | None) -> PublishedBase:
    """Recognize a file or a bundle by its content.

    Raises:
        TrainingError: there is none, or it is another model.
        BundleError: it is damaged.
    """
    if path is None:
        raise TrainingError(f"got --size published without --base PATH, {EXPECTED}.")
    if path.is_dir():
        return _bundle(path)
    state = _read_state(path)
    if any(key.startswith(rules.CLIP) for key in state):
        config, plan = plan_autodir(state, torch.float32)
        return PublishedBase(path=path, clip=config.clip, air=config.air, scm=config.scm, read=_reader(plan))
    if any(key.startswith(SD_TEXT) for key in state):
        return _stable_diffusion(path, state)
    if "visual.conv1.weight" in state and "text_projection" in state:
        clip = controller_config({f"clip.{key}": shape for key, shape in shapes_of(state).items()}).clip
        whole = {key: value.float() for key, value in state.items()}
        return PublishedBase(path=path, clip=replace(clip, quick_gelu=True), read=lambda _: whole)
    raise TrainingError(f"{path} is another model: {EXPECTED}.")


def _read_state(path: Path) -> Mapping[str, Tensor]:
    return read_weights_file(path) if path.suffix == ".safetensors" else open_checkpoint(path)


def _bundle(path: Path) -> PublishedBase:
    manifest = read_manifest(path)
    if manifest.family != "autodir":
        raise TrainingError(f"{path} is a bundle of the family {manifest.family!r}: {EXPECTED}.")
    config = autodir_config(path, manifest)

    def read(network: str) -> State:
        cpu = torch.device("cpu")
        tensors = read_clip(path, manifest, cpu) if network == CLIP else read_weights(path, manifest, network, cpu)
        return {key: value.float() for key, value in tensors.items()}

    return PublishedBase(path=path, clip=config.clip, air=config.air, scm=config.scm, read=read)


def _stable_diffusion(path: Path, state: Mapping[str, Tensor]) -> PublishedBase:
    """Renames the text encoder as AutoDIR does; the moving averages and buffers of the file are not read."""
    kept = {key: value for key, value in state.items() if key.startswith((rules.UNET, rules.CODEC))}
    first = kept[SD_INPUT]
    kept[SD_INPUT] = torch.cat([first, torch.zeros_like(first)], dim=1)  # z_t, z_I
    shapes = shapes_of(kept)
    air = AIRConfig(unet=rules.unet_config(shapes), codec=rules.codec_config(shapes))
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {"air": AIR(air)}
    plan = plan_tensors(kept, networks, rules.air_rules(air), torch.float32)
    text = {
        f"{rules.CLIP}text_model.{key.removeprefix(SD_TEXT)}": value
        for key, value in state.items()
        if key.startswith(SD_TEXT)
    }
    sizes = rules.text_config(shapes_of(text))
    clip = ClipConfig(embed_dim=sizes.width, vision=NO_VISION, text=sizes)
    with torch.device("meta"):
        encoder = build_clip(clip)
    for name in ("visual", "text_projection", "logit_scale"):  # a denoiser's condition does not need them
        delattr(encoder, name)
    plan |= plan_tensors(text, {"clip": encoder}, rules.CLIP_RULES, torch.float32)
    return PublishedBase(path=path, clip=clip, air=air, text_only=True, read=_reader(plan))


def _reader(plan: Plan) -> Callable[[str], State]:
    return lambda network: {tensor.name: tensor.load() for tensor in plan[network]}


def _fill(network: nn.Module, state: State, path: Path, *, strict: bool = True) -> None:
    try:
        network.load_state_dict(state, strict=strict)
    except RuntimeError as error:
        raise BundleError(f"{path} does not fit {type(network).__name__}: {error}") from error
