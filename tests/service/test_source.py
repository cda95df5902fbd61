"""Properties of the source: its imports, and no blocking calls in coroutines."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "service").rglob("*.py"))
COROUTINES = [
    pytest.param(node, id=f"{path.relative_to(ROOT)}:{node.name}")
    for path in SOURCES
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.AsyncFunctionDef)
]
BLOCKING = {"sleep": "time", "open": None, "run": "subprocess", "get": "requests", "post": "requests"}
DECODERS = {"read_header", "transcode", "read_photo", "encode_photo", "load", "b64decode"}


def calls(node):
    """Yields (module or None, name, is awaited) of each call."""
    awaited = {id(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Await)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call):
            called = inner.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            owner = getattr(called.value, "id", None) if isinstance(called, ast.Attribute) else None
            yield owner, name, id(inner) in awaited


@pytest.mark.parametrize("coroutine", COROUTINES)
def test_a_coroutine_does_not_block(coroutine):
    for owner, name, awaited in calls(coroutine):
        assert awaited or not (name in BLOCKING and BLOCKING[name] == owner), f"{owner}.{name}"
        assert awaited or name not in DECODERS, f"call {name} in a thread"


@pytest.mark.parametrize(
    "route", [c for c in COROUTINES if any("router" in ast.dump(d) for d in c.values[0].decorator_list)]
)
def test_an_async_route_awaits_something(route):
    waits = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert any(isinstance(node, waits) for node in ast.walk(route))


def test_the_source_has_coroutines_to_check():
    assert len(COROUTINES) > 30


@pytest.mark.parametrize("module", ["service.app", "service.server", "service.listen_address"])
def test_the_service_loads_neither_torch_nor_the_worker(module):
    script = f"import {module}, sys; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"torch", "torchvision", "open_clip", "diffusers", "worker", "cli"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_module_is_short(path):
    assert len(path.read_text().splitlines()) < 250
