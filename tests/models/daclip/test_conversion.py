"""Conversion of the authors' files to a bundle: every key has a place, and errors are named."""

import json
import re

import numpy as np
import pytest
import torch

from models.convert.daclip.conversion import convert_daclip
from models.convert.daclip.rules import (
    CONTROLLER_RULES,
    NAFNET_RULES,
    UNET_RULES,
    check_copy,
    controller_config,
    controller_on_meta,
    nafnet_config,
    nafnet_on_meta,
    network_kind,
    unet_config,
    unet_on_meta,
)
from models.convert.open_checkpoint import open_checkpoint
from models.convert.rule_table import make_recipe
from models.daclip.conditional_unet import WILD, UNetConfig
from models.daclip.controller import L14, ControllerConfig
from models.errors import BundleError, ControlsError

CONTROLLER = (controller_config, controller_on_meta, CONTROLLER_RULES)
UNET = (unet_config, unet_on_meta, UNET_RULES)
NAFNET = (nafnet_config, nafnet_on_meta, NAFNET_RULES)


@pytest.mark.parametrize(
    ("name", "kind", "layout", "published", "dropped"),
    [
        ("a_daclip_ViT-B-32", "daclip", CONTROLLER, ControllerConfig(), 152),  # the image encoder is stored twice
        ("a_daclip_ViT-L-14", "daclip", CONTROLLER, L14, 296),
        ("b_unet_full", "unet", UNET, UNetConfig(), 12),  # queries, keys and norms of three cross-attentions
        ("b_wild_full", "unet", UNET, WILD, 12),
        ("nafnet_small", "nafnet", NAFNET, None, 0),
    ],
)
def test_every_key_becomes_one_tensor_of_the_network(name, kind, layout, published, dropped, daclip_shapes):
    config_of, on_meta, rules = layout
    shapes = daclip_shapes(name)
    assert network_kind(shapes) == kind
    config = config_of(shapes)
    assert published is None or config == published
    ((network, module),) = on_meta(config).items()
    made = {ours: tuple(shapes[source.key]) for ours, (source,) in make_recipe(rules, shapes)[network].items()}
    assert made == {ours: tuple(value.shape) for ours, value in module.state_dict().items()}
    assert len(made) == len(shapes) - dropped


@pytest.mark.parametrize("kind", ["daclip", pytest.param("unet", marks=pytest.mark.slow), "wild", "nafnet"])
def test_the_random_checkpoint_reproduces_all_vectors(kind, checkpoint_file, daclip_vectors, undegrade):
    done = undegrade("models", "check", kind, checkpoint_file(kind), daclip_vectors)
    assert done.exit_code == 0, done.output
    found = re.search(r"(\d+) of (\d+) groups within tolerance", done.stderr)
    assert int(found[1]) == int(found[2]) == {"daclip": 15, "unet": 41, "wild": 9, "nafnet": 5}[kind]


def test_a_perturbed_tensor_is_found(random_state, daclip_vectors, tmp_path, undegrade):
    state = random_state("nafnet")
    torch.save({**state, "intro.weight": state["intro.weight"] * 1.001}, tmp_path / "nafnet.pth")
    done = undegrade("models", "check", "nafnet", tmp_path / "nafnet.pth", daclip_vectors)
    assert done.exit_code == 1 and "0 of 5 groups" in done.stderr


def test_a_training_checkpoint_with_numpy_scalars_opens_without_running_numpy(checkpoint_file, random_state):
    state, expected = open_checkpoint(checkpoint_file("daclip")), random_state("daclip")
    assert state.keys() == expected.keys()  # without `module.`
    assert torch.equal(state["visual_control.proj"], expected["visual_control.proj"])


def test_a_numpy_array_of_objects_is_still_refused(random_state, tmp_path):
    torch.save({"state_dict": random_state("nafnet"), "extra": np.array([{1: 2}], dtype=object)}, tmp_path / "x.pt")
    with pytest.raises(BundleError, match="may run code"):
        open_checkpoint(tmp_path / "x.pt")


def test_different_copies_of_the_image_encoder_are_an_error(random_state):
    state = random_state("daclip")
    check_copy(state)
    with pytest.raises(BundleError, match=r"visual\.proj differs"):
        check_copy({**state, "visual.proj": state["visual.proj"] + 1})


def test_checkpoints_that_do_not_fit_together_are_refused(checkpoint_file, tmp_path):
    with pytest.raises(BundleError, match="64 wide, but the network takes 48"):
        convert_daclip([checkpoint_file("daclip"), checkpoint_file("unet")], tmp_path / "made")
    with pytest.raises(ControlsError, match="Convert it as daclip-wild"):
        convert_daclip([checkpoint_file("daclip"), checkpoint_file("wild", 64)], tmp_path / "made")
    with pytest.raises(BundleError, match="expected DA-CLIP and one"):
        convert_daclip([checkpoint_file("unet"), checkpoint_file("wild")], tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_an_unexpected_key_is_named(random_state, checkpoint_file, tmp_path):
    torch.save({**random_state("unet", 64), "ups.0.9.weight": torch.zeros(1)}, tmp_path / "uir.pth")
    with pytest.raises(BundleError, match=r"ups\.0\.9\.weight has no place in unet"):
        convert_daclip([checkpoint_file("daclip"), tmp_path / "uir.pth"], tmp_path / "made")


def test_the_manifest_states_the_ten_words_and_both_hashes(checkpoint_file, tmp_path):
    files = [checkpoint_file("unet", 64), checkpoint_file("daclip")]  # in either order
    made = convert_daclip(files, tmp_path / "made", torch.float32)
    told = json.loads((tmp_path / "made" / "bundle.json").read_text())
    assert (made.family, told["licence"]) == ("daclip", "MIT")
    assert [entry["prompt"] for entry in told["degradations"]] == [
        "motion-blurry", "hazy", "jpeg-compressed", "low-light", "noisy", "raindrop", "rainy", "shadowed", "snowy",
        "uncompleted",
    ]  # fmt: skip
    assert told["description"].count("sha256") == 2 and set(told["weights"]) == {"daclip", "unet"}


@pytest.mark.parametrize("family", ["daclip", "daclip-wild"])
def test_a_converted_pair_restores_and_detects_at_the_command_line(family, checkpoint_file, tmp_path, undegrade):
    from PIL import Image

    network = checkpoint_file("wild" if family == "daclip-wild" else "unet", 64)
    done = undegrade("models", "convert", family, checkpoint_file("daclip"), network, "--out", tmp_path / "made")
    assert done.exit_code == 0, done.output
    photo = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    done = undegrade(
        "restore", tmp_path / "photo.png", "--bundle", tmp_path / "made", "--steps", 2, "-o", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    (restored,) = (tmp_path / "out").glob("*.png") if (tmp_path / "out").is_dir() else [tmp_path / "out"]
    after = np.asarray(Image.open(restored))
    assert after.shape == (64, 64, 3) and (after != photo).mean() > 0.5
    done = undegrade("detect", tmp_path / "photo.png", "--bundle", tmp_path / "made", "--json")
    row = json.loads(done.stdout)
    assert set(row["probabilities"]) == {
        "blur", "haze", "jpeg", "low-light", "noise", "raindrop", "rain", "shadow", "snow", "inpainting",
    }  # fmt: skip
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
