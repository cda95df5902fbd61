"""Weights that do not fit: what they take, compared with torch's own count, and advice that is true when followed."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import find_bundle, read_manifest
from models.device import CONTEXT_BYTES, ChosenDevice, Speed, tensor_bytes
from models.device_memory import Card, WeightsMemory, bound_note, check_room, room_for, weights_memory
from models.errors import BundleError, DeviceError
from models.families import load_restorer, memory_needed

CPU = torch.device("cpu")
GIB = 2**30
SIZES = st.integers(1, 96 * GIB)


def bytes_of(*networks):
    """Counts tensors that networks share once."""
    tensors = {value.data_ptr(): value for network in networks for value in network.state_dict().values()}
    return sum(value.nbytes for value in tensors.values())


def card(total, free=None, bound_gib=None):
    free = total - CONTEXT_BYTES if free is None else free
    return Card(name="cuda:0", total_bytes=total, free_bytes=max(0, free), bound_gib=bound_gib)


def refusal(needed, of):
    """The sentence that refuses, None where the weights fit."""
    try:
        check_room(needed, "a-bundle", of)
    except DeviceError as error:
        return str(error)
    return None


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_the_weights_of_autodir_take_what_torch_counts_after_loading(weights):
    speed, bundle = Speed(weights=weights), find_bundle("autodir-small")
    model = load_restorer(bundle, CPU, speed)
    networks = (model.assessor.clip, model.air, model.scm, *model.specialists.networks.values())
    needed = memory_needed(bundle, speed)
    assert needed.resident_bytes == bytes_of(*networks)
    assert needed.resident_bytes <= needed.loading_bytes <= 2 * needed.resident_bytes
    assert model.air.unet.conv_in.weight.dtype == speed.dtype
    assert next(model.assessor.clip.parameters()).dtype == torch.float32


def test_a_network_is_counted_twice_while_its_type_changes_and_once_where_it_does_not(tmp_path):
    from safetensors.torch import save_file

    manifest = read_manifest(find_bundle("autodir-small")).model_copy(update={"weights": {"air": ("a", "b")}})
    save_file({"w": torch.zeros(10, dtype=torch.float16), "n": torch.zeros(3, dtype=torch.int64)}, tmp_path / "a")
    save_file({"v": torch.zeros(6, dtype=torch.float32)}, tmp_path / "b")
    counted = weights_memory(tmp_path, manifest, [("air", torch.float32)])
    assert counted == WeightsMemory(resident_bytes=40 + 24 + 24, loading_bytes=20 + 24 + 24 + 40)


def test_a_weight_file_that_is_damaged_is_named(tmp_path):
    manifest = read_manifest(find_bundle("autodir-small")).model_copy(update={"weights": {"air": ("a",)}})
    for content in (b"", b"\xff" * 64):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BundleError, match=re.escape(str(tmp_path / "a"))):
            weights_memory(tmp_path, manifest, [("air", torch.float32)])


@given(needed=SIZES, total=SIZES, used=SIZES, bound_gib=st.none() | st.floats(1, 96))
def test_weights_are_refused_exactly_where_the_device_cannot_hold_them(needed, total, used, bound_gib):
    free = max(0, total - CONTEXT_BYTES - used)
    room = free if bound_gib is None else min(free, int(bound_gib * GIB) - CONTEXT_BYTES)
    sentence = refusal(needed, card(total, free, bound_gib))
    assert (sentence is not None) == (needed > room)
    assert sentence is None or ("GiB" in sentence and "--device cpu" in sentence)


@given(excess=SIZES, spare=SIZES, bound_gib=st.floats(1, 8))
def test_a_bound_raised_as_advised_lets_the_weights_in(excess, spare, bound_gib):
    needed = tensor_bytes(bound_gib) + excess
    total = needed + CONTEXT_BYTES + spare  # so that only the bound is in the way
    sentence = refusal(needed, card(total, bound_gib=bound_gib))
    advised = float(re.search(r"UNDEGRADE_DEVICE_MEMORY_GIB.* Set it to ([\d.]+)", sentence)[1])
    assert advised > bound_gib
    assert refusal(needed, card(total, bound_gib=advised)) is None


@given(total=SIZES, excess=SIZES)
def test_a_card_of_the_stated_size_holds_the_weights(total, excess):
    needed = total + excess
    stated = float(re.search(r"at least ([\d.]+) GiB", refusal(needed, card(total)))[1])
    assert refusal(needed, card(int(stated * GIB) + 1)) is None


def test_each_cause_has_its_own_remedy():
    assert "a-bundle takes at least 3.6 GiB on cuda:0" in refusal(3 * GIB, card(2 * GIB))
    assert "MIG slice with more memory" in refusal(3 * GIB, card(2 * GIB))
    assert "only 1.0 of its 80.0 GiB are free. End other programs" in refusal(3 * GIB, card(80 * GIB, GIB))
    bounded = refusal(3 * GIB, card(80 * GIB, bound_gib=2))
    assert "UNDEGRADE_DEVICE_MEMORY_GIB=2 allows less. Set it to 3.6 or more" in bounded


def test_later_bundles_load_beside_the_earlier_ones():
    first = WeightsMemory(loading_bytes=30, resident_bytes=10)
    second = WeightsMemory(loading_bytes=15, resident_bytes=5)
    assert first.then(second) == WeightsMemory(loading_bytes=30, resident_bytes=15)
    assert second.then(first) == WeightsMemory(loading_bytes=35, resident_bytes=15)


def test_memory_that_runs_out_while_loading_is_explained_in_our_words():
    need = {"a-bundle": WeightsMemory(loading_bytes=2 * GIB, resident_bytes=2 * GIB)}
    chosen = ChosenDevice(CPU, "asked for")
    ours = r"while a-bundle loaded .* 2\.0 GiB\. Close other programs"
    with pytest.raises(DeviceError, match=ours), room_for(need, chosen, None):
        torch.empty(2**50)  # 4 PiB
    with pytest.raises(RuntimeError, match="size"), room_for(need, chosen, None):
        torch.zeros(2) + torch.zeros(3)  # other errors pass through


def test_on_a_cpu_the_bound_is_said_to_do_nothing():
    assert "has no effect on a CPU" in bound_note(CPU, 2)
    assert bound_note(CPU, None) == ""
    assert bound_note(torch.device("cuda:0"), 2) == ", of which at most 2 GiB are used"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_is_read_as_a_card():
    read = Card.read(torch.device("cuda:0"), 1)
    assert 0 < read.for_tensors_bytes <= GIB - CONTEXT_BYTES < read.total_bytes
