"""torch.compile: what the machine lacks for it, kernels that serve every shape, and the plain network otherwise."""

import pytest
import torch

from models.compiler import compiled, missing_compiler

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def gated(x, scale):
    """A function with arithmetic that a compiler fuses: (B, C, h, w) and (B,)."""
    return torch.nn.functional.silu(x) * scale[:, None, None, None] + x.mean(dim=1, keepdim=True)


def inputs(images, height, width):
    return torch.randn(images, 4, height, width), torch.rand(images)


def test_a_machine_without_a_compiler_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "found none of g++. Install g++" in missing_compiler(CPU)
    monkeypatch.setenv("CXX", "/nowhere/c++")
    assert "CXX=/nowhere/c++ is not a program" in missing_compiler(CPU)


def test_a_compiler_that_is_named_by_its_path_is_enough(monkeypatch, tmp_path):
    program = tmp_path / "my-c++"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    assert "needs a compiler" not in (missing_compiler(CPU) or "")


def test_on_cuda_triton_is_needed(monkeypatch):
    from importlib.util import find_spec

    monkeypatch.setenv("CC", "/nowhere/cc")
    expected = "CC=/nowhere/cc is not a program" if find_spec("triton") else "triton is not installed"
    assert expected in missing_compiler(CUDA)


def test_without_a_compiler_nothing_is_compiled_and_the_log_says_why(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    assert compiled(gated, [inputs(2, 4, 6)], CPU) is None
    assert "is not a program" in "".join(capsys.readouterr())


@pytest.mark.skipif(missing_compiler(CPU) is not None, reason="needs a C++ compiler")
def test_what_cannot_be_compiled_is_left_to_the_plain_function(capsys):
    def surprising(x):
        torch._dynamo.graph_break()
        return x

    assert compiled(surprising, [(torch.ones(2),)], CPU) is None
    assert "network.not-compiled" in "".join(capsys.readouterr())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch compiles with parts that it deprecates
@pytest.mark.skipif(missing_compiler(CPU) is not None, reason="needs a C++ compiler")
def test_two_compilations_serve_every_shape_and_an_odd_one_runs_plainly():
    from torch._dynamo.utils import counters

    counters.clear()
    fast = compiled(gated, [inputs(2, 8, 12), inputs(1, 8, 12)], CPU)
    for images, height, width in [(2, 8, 12), (1, 8, 12), (1, 8, 8), (5, 30, 4), (3, 7, 9), (1, 64, 3)]:
        given = inputs(images, height, width)
        assert fast.serves(*given)
        torch.testing.assert_close(fast(*given), gated(*given))
    laid_out = inputs(2, 8, 12)[0].to(memory_format=torch.channels_last), torch.rand(2)
    assert fast.serves(*laid_out)
    doubles = tuple(value.double() for value in inputs(2, 8, 12))
    assert not fast.serves(*doubles)
    torch.testing.assert_close(fast(*doubles), gated(*doubles))
    assert counters["stats"]["unique_graphs"] == 2
