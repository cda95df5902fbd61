"""What the published sizes start from: each kind of file, against the networks of other programs."""

import argparse
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from models.autodir.air import AIR, AIRConfig
from models.convert.autodir.conversion import convert_autodir
from models.errors import TrainingError
from models.families import load_restorer
from models.networks.clip import ClipConfig, TextConfig, VisionConfig, build_clip
from models.networks.nafnet import NAFNet, NAFNetConfig
from models.training.autodir import recipes
from models.training.autodir.package_published import write_published
from models.training.autodir.published_base import SD_INPUT, SD_TEXT, open_base
from models.training.core.run_config import RunConfig
from models.training.core.trainer import Trainer
from models.training.data.photos import CropConfig
from models.training.data.share import Draws

CLIP = "model_assessment.clipmodel."
NAMES = (*recipes.AUTODIR_NAMES, "clean")


@pytest.fixture(scope="module")
def state(weights, parity):
    return weights.autodir_checkpoint(parity / "keys.tsv")["state_dict"]


@pytest.fixture(scope="module")
def autodir(state, tmp_path_factory):
    """AutoDIR's checkpoint, tiny."""
    path = tmp_path_factory.mktemp("base") / "autodir.ckpt"
    torch.save({"state_dict": state, "global_step": 0}, path)
    return path


@pytest.fixture(scope="module")
def diffusion(state, tmp_path_factory):
    """Stable Diffusion in its original layout, tiny: four input channels, a text encoder, moving averages."""
    found = {key: value for key, value in state.items() if key.startswith(("model.diffusion", "first_stage", "betas"))}
    found[SD_INPUT] = found[SD_INPUT][:, :4].clone()
    text = f"{CLIP}text_model."
    found |= {SD_TEXT + key.removeprefix(text): value for key, value in state.items() if key.startswith(text)}
    found["model_ema.decay"] = torch.tensor(0.9999)
    path = tmp_path_factory.mktemp("base") / "v1-5.ckpt"
    torch.save({"state_dict": found}, path)
    return path


def arguments(stage, base, **more):
    return argparse.Namespace(command=stage, size="published", base=base, air=None, text=None, **more)


@pytest.fixture
def run(tmp_path):
    return RunConfig(
        images=(), out=tmp_path / "out", steps=2, batch=2, loaders=0, device="cpu", crop=CropConfig(crop_px=64),
        mixture=recipes.PUBLISHED_MIXTURE,
    )  # fmt: skip


def test_the_denoiser_starts_as_stable_diffusion_whatever_the_image_condition(diffusion):
    air = open_base(diffusion).denoiser().eval()
    from diffusers import UNet2DConditionModel  # after torchvision was mended, as AIR does

    unet = air.config.unet
    theirs = UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=unet.block_channels, layers_per_block=unet.layers_per_block,
        down_block_types=tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in unet.attention),
        up_block_types=tuple("CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(unet.attention)),
        cross_attention_dim=unet.context_dim, attention_head_dim=unet.heads, norm_num_groups=unet.norm_groups,
    ).eval()  # fmt: skip
    weights = air.unet.state_dict()
    assert not bool(weights["conv_in.weight"][:, 4:].any())
    theirs.load_state_dict(weights | {"conv_in.weight": weights["conv_in.weight"][:, :4]})
    draws = Draws(torch.Generator().manual_seed(0))
    z, context = draws.normal((2, 4, 16, 16)), draws.normal((2, 77, unet.context_dim))
    timestep = torch.tensor([10, 700])
    with torch.no_grad():
        expected = theirs(z, timestep, encoder_hidden_states=context, return_dict=False)[0]
        for image in (torch.zeros_like(z), 3 * draws.normal(z.shape)):
            torch.testing.assert_close(air.predict(z, image, timestep, context), expected)


def test_every_kind_of_file_gives_the_same_conditions_and_denoiser(autodir, diffusion, tmp_path):
    convert_autodir(autodir, tmp_path / "bundle", dtype=torch.float32)
    bases = [open_base(path) for path in (autodir, tmp_path / "bundle", diffusion)]
    with torch.no_grad():
        first, *others = (recipes.published_contexts(base, NAMES) for base in bases)
    for other in others:
        torch.testing.assert_close(other.prompts, first.prompts)
        torch.testing.assert_close(other.null, first.null)
    whole, *rest = (base.denoiser().state_dict() for base in bases)
    for other in rest:
        assert other.keys() == whole.keys()
        assert all(torch.equal(value, whole[key]) for key, value in other.items() if key != "unet.conv_in.weight")


@pytest.mark.parametrize("stage", ["assessor", "air", "scm"])
def test_each_stage_trains_from_autodir(stage, autodir, run, pools):
    torch.manual_seed(0)
    built, config = recipes.RECIPES[stage](run, pools, arguments(stage, autodir))
    before = {key: value.clone() for key, value in built.network.state_dict().items()}
    batch = next(built.examples(0))
    loss = built.loss(batch, Draws(torch.Generator().manual_seed(0)))
    loss.backward()
    trainer = Trainer(built, run, torch.device("cpu"), config)
    trainer._step(batch)
    after = built.network.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert changed
    frozen = {"assessor": ("clip.transformer.", "clip.token_embedding."), "air": ("codec.",), "scm": ()}[stage]
    assert not any(key.startswith(frozen) for key in changed if frozen)


@pytest.mark.slow
def test_air_trains_from_stable_diffusion_and_scm_takes_its_weights(diffusion, run, pools, tmp_path):
    stage, _ = recipes.RECIPES["air"](run, pools, arguments("air", diffusion))
    save_file({key: value.contiguous() for key, value in stage.network.state_dict().items()}, tmp_path / "air")
    scm, config = recipes.RECIPES["scm"](run, pools, argparse.Namespace(**{
        **vars(arguments("scm", diffusion)), "air": tmp_path / "air"
    }))  # fmt: skip
    assert config.network == NAFNetConfig(), "Stable Diffusion has no SCM, so it starts from nothing"
    assert scm.air is not None


@pytest.mark.slow
def test_trained_networks_become_a_bundle_that_restores(autodir, run, pools, tmp_path):
    files = {}
    for stage in ("assessor", "air", "scm"):
        own = replace(run, out=tmp_path / stage, steps=1)
        built, config = recipes.RECIPES[stage](own, pools, arguments(stage, autodir))
        built.held_out = built.held_out[:1]
        Trainer(built, own, torch.device("cpu"), config).train(Console(quiet=True))
        files[stage] = tmp_path / stage / "best.safetensors"
    write_published(tmp_path / "mine", **files, version="1")
    restorer = load_restorer(tmp_path / "mine", torch.device("cpu"))
    ((name, probability),) = [max(answer.items(), key=lambda entry: entry[1]) for answer in restorer.assessor.assess(
        [torch.zeros(3, 70, 80)], strict=True
    )]  # fmt: skip
    assert name in NAMES and 0 < probability <= 1
    (tmp_path / "air" / "config.json").unlink()
    with pytest.raises(TrainingError, match="does not hold the sizes of the stage air"):
        write_published(tmp_path / "again", **files, version="1")


def test_the_assessor_starts_from_clip_alone(run, pools, tmp_path):
    config = ClipConfig(
        embed_dim=16, vision=VisionConfig(image_size=32, layers=1, width=256, patch_size=16, head_width=64),
        text=TextConfig(width=256, heads=4, layers=1),
    )  # fmt: skip
    clip = build_clip(config)
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    stage, _ = recipes.RECIPES["assessor"](run, pools, arguments("assessor", tmp_path / "clip.safetensors"))
    assert torch.equal(stage.assessor.clip.visual.conv1.weight, clip.visual.conv1.weight)
    with pytest.raises(TrainingError, match="holds CLIP alone"):
        recipes.RECIPES["air"](run, pools, arguments("air", tmp_path / "clip.safetensors"))


def test_other_files_are_refused_by_name(diffusion, run, pools, tmp_path):
    with pytest.raises(TrainingError, match="without --base"):
        recipes.RECIPES["air"](run, pools, arguments("air", None))
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match=r"other\.safetensors is another model: expected a bundle of the family"):
        open_base(tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="has no image encoder"):
        recipes.RECIPES["assessor"](run, pools, arguments("assessor", diffusion))


def test_the_published_networks_have_the_parameters_of_the_authors():
    """By the authors' key list (tests/parity/autodir): U-Net 859,532,484; VAE 83,653,863; CLIP 427,616,513; SCM."""
    with torch.device("meta"):
        air, clip, scm = AIR(AIRConfig()), build_clip(ClipConfig()), NAFNet(NAFNetConfig())
    counts = [sum(p.numel() for p in part.parameters()) for part in (air.unet, air.codec, clip, scm)]
    assert counts == [859_532_484, 83_653_863, 427_616_513, 115_984_643]
