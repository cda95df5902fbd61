"""A checkpoint becomes a bundle, all of it or nothing."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models.bundle import read_manifest, verify_bundle
from models.convert.autodir.bundle import DTYPES, convert_autodir
from models.convert.autodir.rules import CLIP, UNET
from models.errors import BundleError, ControlsError
from models.vocabulary import AUTODIR_NAMES, CLEAN


def weights(bundle, network):
    return {
        key: value for name in read_manifest(bundle).weights[network] for key, value in load_file(bundle / name).items()
    }


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".ckpt")


def test_the_manifest_states_the_published_system(short, saved, tmp_path):
    convert_autodir(saved({"state_dict": short, "global_step": 0}), tmp_path / "made" / "autodir")
    manifest = read_manifest(tmp_path / "made" / "autodir")
    verify_bundle(tmp_path / "made" / "autodir")
    assert (manifest.family, manifest.name) == ("autodir", "autodir")
    assert [entry.name for entry in manifest.degradations] == [*AUTODIR_NAMES, CLEAN]
    assert manifest.degradations[-1].prompt == "A photo needs no artifact reduction"
    assert manifest.networks["loop"]["sampler"] == "euler-ancestral"
    assert (manifest.networks["loop"]["steps"], manifest.networks["loop"]["max_passes"]) == (100, 7)
    assert (manifest.networks["air"]["codec"]["kind"], manifest.networks["air"]["prediction"]) == ("kl", "epsilon")
    assert "OpenRAIL" in manifest.restrictions


def test_a_flat_state_dict_will_do_and_every_weight_is_there(short, saved, tmp_path):
    convert_autodir(saved(short), tmp_path / "made", torch.float32, shard_bytes=20 * 2**20)
    clip, air, scm = (weights(tmp_path / "made", name) for name in ("clip", "air", "scm"))
    assert len(read_manifest(tmp_path / "made").weights["air"]) > 1
    assert torch.equal(clip["text_projection"], short[f"{CLIP}text_projection.weight"].T)
    block = f"{CLIP}vision_model.encoder.layers.1.self_attn."
    fused = torch.cat([short[f"{block}{part}_proj.bias"] for part in "qkv"])
    assert torch.equal(clip["visual.transformer.resblocks.1.attn.in_proj_bias"], fused)
    theirs = short["first_stage_model.encoder.mid.attn_1.q.weight"]
    assert torch.equal(air["codec.autoencoder.encoder.mid_block.attentions.0.to_q.weight"], theirs[:, :, 0, 0])
    assert torch.equal(scm["intro.weight"], short["NAFNet.intro.weight"])
    count = sum(value.numel() for value in (*clip.values(), *air.values(), *scm.values()))
    ignored = ("position_ids", *(key for key in short if key.count(".") == 0))
    assert count == sum(value.numel() for key, value in short.items() if not key.endswith(ignored))


@pytest.mark.parametrize("name", DTYPES)
def test_weights_are_stored_in_the_type_that_was_asked_for(name, short, saved, tmp_path):
    convert_autodir(saved(short), tmp_path / "made", DTYPES[name])
    stored = weights(tmp_path / "made", "scm")["intro.weight"]
    assert stored.dtype == DTYPES[name]
    assert torch.equal(stored, short["NAFNet.intro.weight"].to(DTYPES[name]))
    assert weights(tmp_path / "made", "clip")["logit_scale"].dtype == torch.float32


def change(short, what):
    """One thing wrong with a checkpoint."""
    key = f"{UNET}out.2.weight"
    if what == "unnamed":
        short["model_ema.decay"] = torch.zeros(1)
    elif what == "missing":
        del short[key]
    elif what == "misshapen":
        short[key] = short[key][:, :-1]
    elif what == "part missing":
        del short[f"{CLIP}text_model.encoder.layers.0.self_attn.k_proj.weight"]
    elif what == "no number":
        short[key] = torch.full_like(short[key], torch.nan)
    elif what == "too large":
        short[key] = short[key] + 1e6
    return short


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("unnamed", "no rule names: model_ema.decay"),
        ("missing", "lacks what air needs as unet.conv_out.weight"),
        ("misshapen", r"out.2.weight has the shape \[4, 31, 3, 3\], expected \[4, 32, 3, 3\]"),
        ("part missing", "without its two companions"),
        ("no number", "out.2.weight has values that are no numbers"),
        ("too large", "out.2.weight is too large for float16. Convert with --dtype bfloat16"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said_and_nothing_is_left(what, sentence, short, saved, tmp_path):
    with pytest.raises(BundleError, match=sentence):
        convert_autodir(saved(change(short, what)), tmp_path / "made")
    assert left_in(tmp_path) == []


def test_an_interrupted_conversion_leaves_nothing(short, saved, tmp_path):
    seen = []

    def interrupt(done, total):
        seen.extend(path.name for path in tmp_path.glob(".made.*/*"))
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_autodir(saved(short), tmp_path / "made", on_progress=interrupt)
    assert seen and left_in(tmp_path) == []


def test_progress_goes_up_to_all_of_it(short, saved, tmp_path):
    told = []
    convert_autodir(saved(short), tmp_path / "made", on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1][0] == told[-1][1]


def test_a_folder_that_is_taken_is_left_alone(short, saved, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").write_text("keep")
    with pytest.raises(ControlsError, match="already there"):
        convert_autodir(saved(short), tmp_path / "made")
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
    "noise": (lambda mark: bytes(range(256)) * 9, "no checkpoint that torch.save wrote"),
    "a bare malicious pickle": (lambda mark: pickle.dumps(Evil(mark)), "no checkpoint that torch.save wrote"),
    "a malicious checkpoint": (lambda mark: whole({"state_dict": {"a": Evil(mark)}}), "posix.system, which may run"),
    "another archive": (lambda mark: archive("hello.txt"), "a zip archive of something else"),
    "truncated": (lambda mark: whole({"a": torch.zeros(5000)})[:9000], "is truncated"),
    "cut in the middle": (lambda mark: cut(whole({"a": torch.zeros(5000)})), "is damaged"),
    "a list": (lambda mark: whole([1, 2]), "holds a list"),
    "a dictionary of numbers": (lambda mark: whole({"state_dict": {"a": 1}}), "'a' is a int, expected a tensor"),
    "another model": (lambda mark: whole({"state_dict": {"a": torch.zeros(1)}}), "is not AutoDIR's"),
}


def cut(content):
    return content[: len(content) // 3] + content[2 * len(content) // 3 :]


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_gets_a_sentence_runs_nothing_and_leaves_nothing(kind, tmp_path, undegrade):
    make, sentence = WRONG[kind]
    path, mark = tmp_path / "wrong.ckpt", tmp_path / "mark"
    path.write_bytes(make(mark))
    done = undegrade("models", "convert", "autodir", path, "--out", tmp_path / "made", "--accept-license")
    assert done.exit_code == 3
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert left_in(tmp_path) == []


def test_a_missing_file_gets_a_sentence(tmp_path, undegrade):
    done = undegrade(
        "models", "convert", "autodir", tmp_path / "no.ckpt", "--out", tmp_path / "made", "--accept-license"
    )
    assert done.exit_code == 3 and "No such file" in done.stderr


def test_without_the_license_accepted_it_is_printed_and_nothing_done(tmp_path, undegrade):
    done = undegrade("models", "convert", "autodir", tmp_path / "no.ckpt", "--out", tmp_path / "made")
    assert done.exit_code == 2
    assert "no license" in done.stderr and "--accept-license" in done.stderr
    assert left_in(tmp_path) == []


def test_a_converted_bundle_restores_a_photo(released, tmp_path, undegrade):
    bundle = tmp_path / "autodir"
    done = undegrade("models", "convert", "autodir", released, "--out", bundle, "--accept-license")
    assert done.exit_code == 0, done.stderr
    Image.effect_noise((70, 50), 60).convert("RGB").save(tmp_path / "photo.png")
    words = ("--bundle", bundle, "--steps", 1, "--prompt", "haze", "--device", "cpu")
    done = undegrade("restore", tmp_path / "photo.png", "-o", tmp_path / "restored.png", *words)
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "restored.png") as restored:
        assert restored.size == (70, 50) and restored.getextrema() != ((0, 0),) * 3
