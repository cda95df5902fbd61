"""The engine's memory for the metrics, compared with what the operating system says."""

import psutil
import pytest
import torch

from processes.memory_limits import memory
from worker.device_memory import FRESH_S, DeviceMemory


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_on_a_cpu_it_is_the_memory_of_this_process_and_what_is_free():
    used, limit = DeviceMemory().read()
    assert used == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert limit - used == pytest.approx(memory().available_bytes, rel=0.5)


def test_it_is_read_at_most_once_a_second():
    clock = Clock()
    device_memory = DeviceMemory(clock=clock)
    before, _ = device_memory.read()
    held = torch.ones(64, 2**20)  # 256 MiB that are really used
    assert device_memory.read()[0] == before
    clock.now_s += FRESH_S
    assert device_memory.read()[0] > before + held.nbytes // 2


@pytest.mark.gpu
def test_on_cuda_it_is_what_torch_has_reserved_and_what_is_free():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda", 0)
    held = torch.ones(256, 2**20, device=device)
    used, limit = DeviceMemory(device).read()
    assert held.nbytes <= used <= limit <= torch.cuda.mem_get_info(device)[1]
