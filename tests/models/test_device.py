"""The choice of a device, compared with torch's own report of this machine."""

import pytest
import torch

from models.device import CONTEXT_BYTES, Speed, bound_memory, choose_device, free_bytes, tensor_bytes, to_device
from models.errors import DeviceError

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


def test_the_cpu_is_always_available_and_reports_its_threads():
    chosen = choose_device("cpu")
    assert chosen.device == torch.device("cpu")
    assert f"{torch.get_num_threads()} CPU thread" in chosen.why


def test_auto_chooses_cuda_where_available_and_says_so():
    chosen = choose_device()
    assert chosen.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen.why.startswith("auto: ")


@no_cuda
def test_auto_says_why_it_is_not_cuda():
    why = choose_device("auto").why
    assert ("built without CUDA" in why) == (torch.version.cuda is None)


@no_cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_without_cuda_fails_with_the_reason(name):
    with pytest.raises(DeviceError, match=f"cannot run on {name}: torch .*{torch.__version__[:4]}") as raised:
        choose_device(name)
    assert "--device cpu" in str(raised.value)


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "mps", "", "CUDA 0"])
def test_an_unknown_device_name_is_refused_with_the_valid_names(name):
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda or cuda:N"):
        choose_device(name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_is_chosen_by_its_number_if_it_exists():
    assert choose_device("cuda").device == torch.device("cuda:0")
    with pytest.raises(DeviceError, match="the highest"):
        choose_device(f"cuda:{torch.cuda.device_count()}")


def test_on_a_cpu_nothing_is_copied():
    value = torch.rand(3)
    assert to_device(value, torch.device("cpu")) is value


def test_a_cpu_keeps_the_weights_as_they_are():
    assert Speed.of(torch.device("cpu")) == Speed(weights="float32", graphs=False)


@pytest.mark.parametrize("gib", [0.1, 0.5, 1, 8, 80])
def test_a_bound_counts_what_cuda_takes_beside_tensors(gib):
    assert 0 < tensor_bytes(gib) <= max(1, gib * 2**30 - CONTEXT_BYTES)


def test_a_bound_has_no_effect_on_a_cpu():
    bound_memory(torch.device("cpu"), 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tensor_beyond_the_bound_is_refused_as_out_of_memory():
    device = torch.device("cuda:0")
    bound_memory(device, 2)
    try:
        assert free_bytes(device, 2) <= 2 * 2**30 - CONTEXT_BYTES
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(2 * 2**30, dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
