"""What doctor says of CUDA graphs and torch.compile in each case: on or off, why, and how to change it."""

import pytest
import torch

from cli.doctor_speed import compile_sentence, graphs_sentence

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(
    ("device", "wanted", "state", "remedy"),
    [
        (CPU, True, "are off", "CUDA device"),
        (CPU, False, "are off", "CUDA device"),
        (CUDA, False, "are off", "unset UNDEGRADE_CUDA_GRAPHS"),
        (CUDA, True, "are on", "UNDEGRADE_CUDA_GRAPHS=false"),
    ],
)
def test_graphs_are_on_only_on_cuda_and_where_they_are_wanted(device, wanted, state, remedy):
    sentence = graphs_sentence(device, wanted=wanted)
    assert state in sentence and remedy in sentence


@pytest.mark.parametrize(
    ("wanted", "missing", "state", "remedy"),
    [
        (False, None, "is off, as by default", "UNDEGRADE_COMPILE=true"),
        (True, "no g++. Install it.", "is off, although", "Install it."),
        (True, None, "is on", "UNDEGRADE_COMPILE=false"),
    ],
)
def test_compile_is_on_only_where_it_is_wanted_and_possible(wanted, missing, state, remedy):
    sentence = compile_sentence(wanted=wanted, missing=missing)
    assert state in sentence and remedy in sentence
