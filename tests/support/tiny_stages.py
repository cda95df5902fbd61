"""Trains tiny stages: `python -m` or `torchrun -m tests.support.tiny_stages FOLDER STAGE...`.

The photos are FOLDER/*.npy.  Each stage writes into FOLDER/PROCESSES/STAGE, and validates after every step, so its log
has the loss of every step.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import save_file

from models.autodir.air import AIR, AIRConfig, UNetConfig
from models.autodir.latents import PatchConfig
from models.daclip.conditional_nafnet import ConditionalNAFNet
from models.daclip.conditional_nafnet import NAFNetConfig as ConditionalNAFNetConfig
from models.daclip.conditional_unet import ConditionalUNet
from models.daclip.conditional_unet import UNetConfig as ConditionalUNetConfig
from models.daclip.controller import ControllerConfig, DaCLIP
from models.etdiffir.erunet import EfficientUNet, EfficientUNetConfig
from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.networks.drunet import DRUNetConfig
from models.networks.evidence_encoder import EvidenceEncoderConfig
from models.networks.nafnet import NAFNetConfig
from models.training.autodir.air_stage import AIRStage, AIRStageConfig, Contexts
from models.training.autodir.assessor_stage import AssessorStage, AssessorStageConfig
from models.training.autodir.frozen_air import FrozenAIR
from models.training.autodir.scm_stage import SCMStage, SCMStageConfig
from models.training.autodir.specialist_stage import SpecialistStage, SpecialistStageConfig
from models.training.core.processes import Place, connected
from models.training.core.run_config import RunConfig
from models.training.core.sources import TrainingData
from models.training.core.text_encoder import text_parameters
from models.training.core.trainer import Stage, Trainer
from models.training.daclip.controller_stage import DaCLIPStage, DaCLIPStageConfig, validation_batches
from models.training.daclip.restoration_stage import OneStepStage, RestorationStageConfig, SDEStage
from models.training.data.captioned_examples import CaptionedPhoto, DrawnExamples
from models.training.data.degradations import Mixture
from models.training.data.photos import CropConfig, PhotoPool
from models.training.data.share import Share
from models.vocabulary import CLEAN

NAMES = ("low-light", "haze", CLEAN)
STEPS = 3
DENOISER = AIRConfig(
    unet=UNetConfig(
        block_channels=(8, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=16, norm_groups=4
    ),
    codec=PatchConfig(factor=4), prediction="v_prediction", residual=True,
)  # fmt: skip
CLIP = ClipConfig(
    embed_dim=16, vision=VisionConfig(image_size=32, layers=(1, 1, 1, 1), width=8, head_width=32),
    text=TextConfig(width=16, heads=2, layers=1), quick_gelu=False, mean=(0.5,) * 3, std=(0.25,) * 3,
)  # fmt: skip
EVIDENCE_CLIP = ClipConfig(
    embed_dim=16, vision=CLIP.vision, text=CLIP.text, quick_gelu=False, mean=CLIP.mean, std=CLIP.std,
    tower=EvidenceEncoderConfig(branches=(DRUNetConfig(width=4, blocks=(1, 1), patch=2),), hidden=16, dropout=0.2),
)  # fmt: skip
CONTROLLER = ControllerConfig(
    clip=ClipConfig(
        embed_dim=32, vision=VisionConfig(image_size=32, layers=2, width=64, patch_size=8),
        text=TextConfig(width=32, heads=4, layers=1), quick_gelu=False,
    )
)  # fmt: skip
Built = tuple[Stage, object]


def photos(folder: Path) -> TrainingData:
    files = sorted(folder.glob("*.npy"))
    return TrainingData(photos=(PhotoPool(files, validation=False), PhotoPool(files, validation=True)))


def specialist(run: RunConfig, folder: Path) -> Built:
    config = SpecialistStageConfig(
        names=NAMES[:2], network=DRUNetConfig(width=4, blocks=(1, 1), patch=2), self_repaired_share=0.5
    )
    return SpecialistStage(config, run, photos(folder)), config


def air(run: RunConfig, folder: Path) -> Built:
    config = AIRStageConfig(network=DENOISER, noisiest_share=0.3, prompt_blend=0.3)
    contexts = Contexts(prompts=torch.randn(3, 5, 16), null=torch.randn(5, 16), phrasings=torch.randn(3, 4, 5, 16))
    return AIRStage(config, run, photos(folder), NAMES, contexts), config


def scm(run: RunConfig, folder: Path) -> Built:
    network = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,), patch=2)
    config = SCMStageConfig(network=network, residual=0.3, diffused_share=0.5, replay=2, replay_capacity=6)
    return SCMStage(config, run, photos(folder), NAMES, FrozenAIR(AIR(DENOISER), torch.randn(3, 5, 16))), config


def assessor(run: RunConfig, folder: Path, config: AssessorStageConfig) -> Built:
    text = run.out.parent / f"text-{run.out.name}-{Place.of().share.rank}.safetensors"
    save_file(text_parameters(build_clip(config.network)), text)
    return AssessorStage(config, run, photos(folder), NAMES, text), config


def glance(run: RunConfig, folder: Path) -> Built:
    return assessor(run, folder, AssessorStageConfig(network=CLIP, cross_entropy=1.0, clean_weight=0.1, twins=0.6))


def replayed_assessor(run: RunConfig, folder: Path) -> Built:
    return assessor(run, folder, AssessorStageConfig(network=EVIDENCE_CLIP, cross_entropy=1.0, twins=0.25, replay=2))


def captioned(run: RunConfig, folder: Path) -> DrawnExamples:
    pools = [PhotoPool([file], validation=False) for file in sorted(folder.glob("*.npy"))]
    return DrawnExamples([CaptionedPhoto(pool, f"photo {i}") for i, pool in enumerate(pools)], run.crop, run.seed)


def daclip(run: RunConfig, folder: Path) -> Built:
    config = DaCLIPStageConfig(network=CONTROLLER, robust=True, content_share=0.5)
    examples = captioned(run, folder)
    held_out = validation_batches(examples, 1, 2)
    return DaCLIPStage(config, run, examples, held_out, DaCLIP(CONTROLLER), frozen=()), config


def irsde(run: RunConfig, folder: Path) -> Built:
    network = ConditionalUNet(ConditionalUNetConfig(width=32, multipliers=(1, 2), context_dim=32))
    config = RestorationStageConfig(network=network.config, validation_steps=1)
    examples = captioned(run, folder)
    held_out = validation_batches(examples, 1, 1)
    return SDEStage(config, run, examples, held_out, DaCLIP(CONTROLLER), network, kinds=("mixed",)), config


def etdiffir(run: RunConfig, folder: Path) -> Built:
    network = EfficientUNet(EfficientUNetConfig(width=32, multipliers=(1, 2), context_dim=32, mode="paper"))
    config = RestorationStageConfig(network=network.config, validation_steps=1)
    examples = captioned(run, folder)
    held_out = validation_batches(examples, 1, 1)
    return SDEStage(config, run, examples, held_out, DaCLIP(CONTROLLER), network, kinds=("mixed",)), config


def nafnet_daclip(run: RunConfig, folder: Path) -> Built:
    network = ConditionalNAFNet(
        ConditionalNAFNetConfig(width=32, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,), context_dim=32)
    )
    config = RestorationStageConfig(network=network.config, word_share=0.5)
    examples = captioned(run, folder)
    held_out = validation_batches(examples, 1, 1)
    return OneStepStage(config, run, examples, held_out, DaCLIP(CONTROLLER), network, kinds=("mixed",)), config


STAGES: dict[str, Callable[[RunConfig, Path], Built]] = {
    "specialist": specialist, "air": air, "scm": scm, "glance": glance, "replayed-assessor": replayed_assessor,
    "daclip": daclip, "irsde": irsde, "etdiffir": etdiffir, "nafnet-daclip": nafnet_daclip,
}  # fmt: skip


def built(name: str, folder: Path, out: Path) -> tuple[Stage, object, RunConfig]:
    """Returns a stage, its configuration, and the settings of its run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    run = RunConfig(
        images=(), out=out, steps=STEPS, batch=4, loaders=0, device="cpu", warmup_steps=1, crop=CropConfig(crop_px=32),
        mixture=Mixture(weights={"low-light": 1.0, "haze": 1.0, CLEAN: 0.5}, two_kinds=0.0), validate_every_s=0,
        clip_norm=1e9, muon=0.01 if name == "specialist" else None, learning_rate=1e-3, seed=4,
    )  # fmt: skip
    torch.manual_seed(run.seed)
    stage, config = STAGES[name](run, folder)
    return stage, config, run


def train(name: str, folder: Path, share: Share) -> None:
    """Train one stage for a few steps."""
    stage, config, run = built(name, folder, folder / str(share.count) / name)
    if isinstance(stage, SpecialistStage | AIRStage | SCMStage | AssessorStage):
        entry = stage.held_out[0]
        stage.held_out = [replace(entry, example={key: value[:2] for key, value in entry.example.items()})]
    Trainer(stage, run, torch.device("cpu"), config, share=share).train(Console(quiet=True))


def main() -> None:
    torch.set_num_threads(1)
    folder, place = Path(sys.argv[1]), Place.of()
    with connected(place, torch.device("cpu")):
        for name in sys.argv[2:]:
            train(name, folder, place.share)


if __name__ == "__main__":
    main()
