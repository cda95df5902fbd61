"""Reading packages of MAXIM: layouts, shards, and what the errors say."""

import json
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from maxim_packages import graph_model, write_package

from models.convert.maxim.package import read_package
from models.errors import BundleError


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


ARRAYS = {
    "stage_0_input_conv_0/transpose_3": values(3, 3, 3, 8),
    "stage_0_input_conv_0/Reshape": values(1, 1, 1, 8),
    "stage_0_decoder_block_0/ConvTranspose_0/transpose_4": values(2, 2, 6, 4),  # height, width, out, in
    "a/LayerNorm/Reshape_2": values(1, 1, 1, 8),
    "a/LayerNorm/Reshape_3": values(1, 1, 1, 8, seed=1),
    "a/in_project/einsum/Einsum": values(5, 7),
    "a/in_project/Reshape": values(1, 1, 1, 7),
    "UpSampleRatio_0/Conv_0/transpose_3": values(1, 1, 4, 6),
}


@pytest.fixture
def write(tmp_path):
    return partial(write_package, tmp_path / "some.tgz")


@pytest.mark.parametrize("shard_bytes", [64, 100, 10**6])  # 64: over 20 shards, so that 10 sorts before 2
def test_tensors_cross_the_borders_of_shards_and_get_torch_s_layouts(write, shard_bytes):
    package = read_package(write(*graph_model(ARRAYS, shard_bytes)))
    assert (package.task, package.version) == ("deraining", "0.1.0")
    found = package.tensors
    assert len(found) == len(ARRAYS)
    x = torch.randn(1, 3, 8, 8)
    # A convolution by its definition, from the kernel as TensorFlow stores it: (height, width, in, out)
    patches = F.unfold(x, 3).view(3, 3, 3, 36)  # in, height, width
    expected = torch.einsum("ihwp,hwio->op", patches, torch.from_numpy(ARRAYS["stage_0_input_conv_0/transpose_3"]))
    torch.testing.assert_close(F.conv2d(x, found["stage_0_input_conv_0.weight"])[0].flatten(1), expected)
    vector = torch.randn(5)
    kernel = torch.from_numpy(ARRAYS["a/in_project/einsum/Einsum"])
    torch.testing.assert_close(F.linear(vector, found["a.in_project.weight"]), vector @ kernel)
    assert torch.equal(found["a.LayerNorm.weight"], torch.from_numpy(ARRAYS["a/LayerNorm/Reshape_2"]).flatten())
    assert torch.equal(found["a.LayerNorm.bias"], torch.from_numpy(ARRAYS["a/LayerNorm/Reshape_3"]).flatten())
    assert found["UpSampleRatio_0.Conv_0.weight"].shape == (6, 4)
    small = torch.randn(1, 4, 3, 3)
    doubled = F.conv_transpose2d(small, found["stage_0_decoder_block_0.ConvTranspose_0.weight"], stride=2)
    kernel = torch.from_numpy(ARRAYS["stage_0_decoder_block_0/ConvTranspose_0/transpose_4"])
    torch.testing.assert_close(doubled[0, :, :2, :2], torch.einsum("i,hwoi->ohw", small[0, :, 0, 0], kernel))


def changed(**fields):
    """The graph model with other fields in its first parameter."""
    model, shards = graph_model(ARRAYS, 200)
    model["weightsManifest"][0]["weights"][1].update(fields)
    return model, shards


def without_a_shard():
    model, shards = graph_model(ARRAYS, 200)
    del shards["group1-shard2of" + str(len(shards)) + ".bin"]
    return model, shards


def in_wrong_order():
    model, shards = graph_model(ARRAYS, 64)
    model["weightsManifest"][0]["paths"].sort()
    return model, shards


def cut_in_the_last_shard():
    model, shards = graph_model(ARRAYS, 200)
    last = list(shards)[-1]
    return model, {**shards, last: shards[last][:-4]}


def too_long():
    model, shards = graph_model(ARRAYS, 200)
    last = list(shards)[-1]
    return model, {**shards, last: shards[last] + bytes(4)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(quantization={"dtype": "uint8"}), "is quantized, expected float32"),
        (changed(dtype="bfloat16"), "has the type bfloat16"),
        (changed(name="serving_default/x"), "serving_default/x has no place in MAXIM"),
        (without_a_shard(), "shard2of.* is missing"),
        (in_wrong_order(), "in a wrong order"),
        (cut_in_the_last_shard(), "the shards end at byte"),
        (too_long(), "expected .* The file is damaged"),
        (({"format": "layers-model"}, {}), "'layers-model', expected 'graph-model'"),
        (({"format": "graph-model"}, {}), "is no graph model"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_its_file_and_reason(write, content, message):
    with pytest.raises(BundleError, match=rf"some\.tgz: .*{message}"):
        read_package(write(*content))


def test_a_file_that_was_cut_is_refused_wherever_it_ends(write):
    path = write(*graph_model({"a/in_project/einsum/Einsum": values(300, 300)}, 10**5))
    whole = path.read_bytes()
    for share in (0.2, 0.6, 0.95, 0.9999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(BundleError, match=r"some\.tgz is damaged or truncated"):
            read_package(path)


def test_a_flipped_bit_is_found_by_the_checksum(write):
    path = write(*graph_model({"a/in_project/einsum/Einsum": np.zeros((300, 300), np.float32)}, 10**6))
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # in the checksum at the end
    path.write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        read_package(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "no .tgz file"), (b"<!doctype html>", "no .tgz file"), (b"PK\x03\x04", "no .tgz file")],
)
def test_another_kind_of_file_is_named(tmp_path, data, message):
    path = tmp_path / "page.tgz"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"page\.tgz is {message}"):
        read_package(path)


def test_a_missing_file_and_a_package_of_something_else_say_what_to_give(write, tmp_path):
    with pytest.raises(BundleError, match=r"cannot read .*none\.tgz"):
        read_package(tmp_path / "none.tgz")
    with pytest.raises(BundleError, match="is the package left-pad, expected one of @upscalerjs/maxim-"):
        read_package(write(*graph_model(ARRAYS, 200), name="left-pad"))


def test_an_archive_that_unpacks_to_gigabytes_is_refused_early(write, monkeypatch):
    monkeypatch.setattr("models.convert.maxim.package.MOST_BYTES", 10_000)
    with pytest.raises(BundleError, match="holds more than"):
        read_package(write(*graph_model({"a/in_project/einsum/Einsum": values(100, 100)}, 10**5)))


def test_json_that_is_no_model_is_refused(write):
    for model in ([], {"format": "graph-model", "modelTopology": {"node": [{"op": "Einsum"}]}}, json.dumps("x")):
        with pytest.raises(BundleError, match=r"some\.tgz"):
            read_package(write(model, {}))
