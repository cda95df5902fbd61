"""Conversion of a checkpoint to a bundle, which appears complete or not at all."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models.bundle import read_manifest, verify_bundle
from models.convert.autodir.conversion import convert_autodir
from models.convert.autodir.rules import CLIP, UNET
from models.convert.bundle_writer import DTYPES
from models.errors import BundleError, ControlsError
from models.vocabulary import AUTODIR_NAMES, CLEAN


def weights(bundle, network):
    return {
        key: value for name in read_manifest(bundle).weights[network] for key, value in load_file(bundle / name).items()
    }


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".ckpt")


def test_the_manifest_states_the_published_system(small_state, save_checkpoint, tmp_path):
    convert_autodir(save_checkpoint({"state_dict": small_state, "global_step": 0}), tmp_path / "made" / "autodir")
    manifest = read_manifest(tmp_path / "made" / "autodir")
    verify_bundle(tmp_path / "made" / "autodir")
    assert (manifest.family, manifest.name) == ("autodir", "autodir")
    assert [entry.name for entry in manifest.degradations] == [*AUTODIR_NAMES, CLEAN]
    assert manifest.degradations[-1].prompt == "A photo needs no artifact reduction"
    assert manifest.networks["loop"]["sampler"] == "euler-ancestral"
    assert (manifest.networks["loop"]["steps"], manifest.networks["loop"]["max_passes"]) == (100, 7)
    assert (manifest.networks["air"]["codec"]["kind"], manifest.networks["air"]["prediction"]) == ("kl", "epsilon")
    assert "OpenRAIL" in manifest.restrictions


def test_a_flat_state_dict_is_converted_with_every_weight(small_state, save_checkpoint, tmp_path):
    convert_autodir(save_checkpoint(small_state), tmp_path / "made", torch.float32, shard_bytes=20 * 2**20)
    clip, air, scm = (weights(tmp_path / "made", name) for name in ("clip", "air", "scm"))
    assert len(read_manifest(tmp_path / "made").weights["air"]) > 1
    assert torch.equal(clip["text_projection"], small_state[f"{CLIP}text_projection.weight"].T)
    block = f"{CLIP}vision_model.encoder.layers.1.self_attn."
    fused = torch.cat([small_state[f"{block}{part}_proj.bias"] for part in "qkv"])
    assert torch.equal(clip["visual.transformer.resblocks.1.attn.in_proj_bias"], fused)
    theirs = small_state["first_stage_model.encoder.mid.attn_1.q.weight"]
    assert torch.equal(air["codec.autoencoder.encoder.mid_block.attentions.0.to_q.weight"], theirs[:, :, 0, 0])
    assert torch.equal(scm["intro.weight"], small_state["NAFNet.intro.weight"])
    count = sum(value.numel() for value in (*clip.values(), *air.values(), *scm.values()))
    ignored = ("position_ids", *(key for key in small_state if key.count(".") == 0))
    assert count == sum(value.numel() for key, value in small_state.items() if not key.endswith(ignored))


@pytest.mark.parametrize("name", DTYPES)
def test_weights_are_stored_in_the_requested_type(name, small_state, save_checkpoint, tmp_path):
    convert_autodir(save_checkpoint(small_state), tmp_path / "made", DTYPES[name])
    stored = weights(tmp_path / "made", "scm")["intro.weight"]
    assert stored.dtype == DTYPES[name]
    assert torch.equal(stored, small_state["NAFNet.intro.weight"].to(DTYPES[name]))
    assert weights(tmp_path / "made", "clip")["logit_scale"].dtype == torch.float32


def change(small_state, what):
    """One thing wrong with a checkpoint."""
    key = f"{UNET}out.2.weight"
    if what == "unnamed":
        small_state["model_ema.decay"] = torch.zeros(1)
    elif what == "missing":
        del small_state[key]
    elif what == "misshapen":
        small_state[key] = small_state[key][:, :-1]
    elif what == "part missing":
        del small_state[f"{CLIP}text_model.encoder.layers.0.self_attn.k_proj.weight"]
    elif what == "no number":
        small_state[key] = torch.full_like(small_state[key], torch.nan)
    elif what == "too large":
        small_state[key] = small_state[key] + 1e6
    return small_state


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("unnamed", "unknown keys: model_ema.decay"),
        ("missing", "no tensor for unet.conv_out.weight of air"),
        ("misshapen", r"out.2.weight has the shape \[4, 31, 3, 3\], expected \[4, 32, 3, 3\]"),
        ("part missing", "without the other two of query, key and value"),
        ("no number", "out.2.weight contains NaN or infinite values"),
        ("too large", "out.2.weight is too large for float16. Convert with --dtype bfloat16"),
    ],
)
def test_a_wrong_tensor_is_named_and_nothing_is_left(what, sentence, small_state, save_checkpoint, tmp_path):
    with pytest.raises(BundleError, match=sentence):
        convert_autodir(save_checkpoint(change(small_state, what)), tmp_path / "made")
    assert left_in(tmp_path) == []


def test_an_interrupted_conversion_leaves_nothing(small_state, save_checkpoint, tmp_path):
    seen = []

    def interrupt(done, total):
        seen.extend(path.name for path in tmp_path.glob(".made.*/*"))
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_autodir(save_checkpoint(small_state), tmp_path / "made", on_progress=interrupt)
    assert seen and left_in(tmp_path) == []


def test_progress_reaches_the_total(small_state, save_checkpoint, tmp_path):
    told = []
    convert_autodir(
        save_checkpoint(small_state), tmp_path / "made", on_progress=lambda done, total: told.append((done, total))
    )
    assert told == sorted(told) and told[-1][0] == told[-1][1]


def test_an_existing_folder_is_not_changed(small_state, save_checkpoint, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").write_text("keep")
    with pytest.raises(ControlsError, match="already exists"):
        convert_autodir(save_checkpoint(small_state), tmp_path / "made")
    assert (tmp_path / "made" / "mine").read_text() == "keep"


class Evil:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def archive(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, "x")
    return buffer.getvalue()


def whole(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


WRONG = {
    "empty": (lambda mark: b"", "is empty"),
    "a web page": (lambda mark: b"\n<!DOCTYPE html><html>Quota exceeded", "is a web page"),
    "a pointer": (lambda mark: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "noise": (lambda mark: bytes(range(256)) * 9, "not a checkpoint written by torch.save"),
    "a bare malicious pickle": (lambda mark: pickle.dumps(Evil(mark)), "not a checkpoint written by torch.save"),
    "a malicious checkpoint": (lambda mark: whole({"state_dict": {"a": Evil(mark)}}), "posix.system, which may run"),
    "another archive": (lambda mark: archive("hello.txt"), "a ZIP archive without a checkpoint"),
    "truncated": (lambda mark: whole({"a": torch.zeros(5000)})[:9000], "is truncated"),
    "cut in the middle": (lambda mark: cut(whole({"a": torch.zeros(5000)})), "is damaged"),
    "a list": (lambda mark: whole([1, 2]), "contains a list"),
    "a dictionary of numbers": (lambda mark: whole({"state_dict": {"a": 1}}), "'a' is a int, expected a tensor"),
    "another model": (lambda mark: whole({"state_dict": {"a": torch.zeros(1)}}), "is not AutoDIR's"),
}


def cut(content):
    return content[: len(content) // 3] + content[2 * len(content) // 3 :]


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_refused_runs_no_code_and_leaves_nothing(kind, tmp_path, undegrade):
    make, sentence = WRONG[kind]
    path, mark = tmp_path / "wrong.ckpt", tmp_path / "mark"
    path.write_bytes(make(mark))
    done = undegrade("models", "convert", "autodir", path, "--out", tmp_path / "made", "--accept-license")
    assert done.exit_code == 3
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert left_in(tmp_path) == []


def test_a_missing_file_is_refused(tmp_path, undegrade):
    done = undegrade(
        "models", "convert", "autodir", tmp_path / "no.ckpt", "--out", tmp_path / "made", "--accept-license"
    )
    assert done.exit_code == 3 and "No such file" in done.stderr


def test_without_accepting_the_license_it_is_printed_and_nothing_is_done(tmp_path, undegrade):
    done = undegrade("models", "convert", "autodir", tmp_path / "no.ckpt", "--out", tmp_path / "made")
    assert done.exit_code == 2
    assert "no license" in done.stderr and "--accept-license" in done.stderr
    assert left_in(tmp_path) == []


def test_a_converted_bundle_restores_a_photo(checkpoint_file, tmp_path, undegrade):
    bundle = tmp_path / "autodir"
    done = undegrade("models", "convert", "autodir", checkpoint_file, "--out", bundle, "--accept-license")
    assert done.exit_code == 0, done.stderr
    Image.effect_noise((70, 50), 60).convert("RGB").save(tmp_path / "photo.png")
    words = ("--bundle", bundle, "--steps", 1, "--prompt", "haze", "--device", "cpu")
    done = undegrade("restore", tmp_path / "photo.png", "-o", tmp_path / "restored.png", *words)
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "restored.png") as restored:
        assert restored.size == (70, 50) and restored.getextrema() != ((0, 0),) * 3
