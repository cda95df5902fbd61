"""What operators are told of a device.  The texts are those of NVIDIA's kernel modules."""

import os

import psutil
import pytest
import torch

from models.device_facts import device_facts, driver_version

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 22:55:40 UTC 2025\nGCC version: 12.2\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (dvs-builder)  Thu Feb 22\n"


@pytest.mark.parametrize(
    ("text", "version"), [(CLOSED, "570.86.15"), (OPEN, "550.54.14"), ("", ""), ("something else 1.2.3 \n", "")]
)
def test_the_version_of_the_driver_is_that_of_its_kernel_module(tmp_path, text, version):
    (tmp_path / "version").write_text(text)
    assert driver_version(tmp_path / "version") == version


def test_without_a_driver_there_is_no_version(tmp_path):
    assert driver_version(tmp_path / "none") == ""


def test_a_cpu_has_the_machines_memory_or_less():
    facts = device_facts(torch.device("cpu"))
    assert (facts.name, facts.driver) == ("", "")
    assert 0 < facts.total_bytes <= psutil.virtual_memory().total + os.sysconf("SC_PAGE_SIZE")


@pytest.mark.gpu
def test_a_cuda_device_has_name_driver_and_memory():
    facts = device_facts(torch.device("cuda"))
    assert facts.name and facts.driver[0].isdigit() and facts.total_bytes > 2**30
