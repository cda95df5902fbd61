"""What the images install: the extras of pyproject.toml, in the versions of constraints.txt."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
PINS = dict(line.split("==") for line in CONSTRAINTS.splitlines() if line and not line.startswith("#"))
PROJECT = tomllib.loads(PYPROJECT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALL = [
    Requirement(line)
    for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    if not line.startswith("undegrade[")
]
HEAVY = {"torch", "torchvision", "open-clip-torch", "diffusers", "timm", "triton"}


def load(name: str):
    """A script of deploy/image, which is no package."""
    spec = importlib.util.spec_from_file_location(f"image_{name}", ROOT / "deploy" / "image" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return load("requirements")


@pytest.fixture(scope="module")
def constraints():
    return load("constraints")


@pytest.fixture(scope="module")
def pip_settings():
    return load("pip_settings")


def closure(lines: list[str]) -> set[str]:
    """The names of everything that these requirements install, by the metadata of what is installed here."""
    seen: dict[tuple[str, str], None] = {}
    todo = [Requirement(line) for line in lines]
    while todo:
        requirement = todo.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key in seen:
                continue
            seen[key] = None
            try:
                below = [Requirement(line) for line in requires(requirement.name) or ()]
            except PackageNotFoundError:
                continue
            todo += [entry for entry in below if entry.marker is None or entry.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def test_the_api_installs_no_torch_and_the_worker_does(script):
    assert not closure(script.requirements(PYPROJECT, "api")) & HEAVY
    assert {"torch", "torchvision", "diffusers"} <= closure(script.requirements(PYPROJECT, "worker"))


def test_the_worker_installs_no_http_server(script):
    assert not closure(script.requirements(PYPROJECT, "worker")) & {"fastapi", "uvicorn", "starlette"}


def test_an_extra_of_extras_is_resolved(script):
    both = set(script.requirements(PYPROJECT, "all"))
    assert both == set(script.requirements(PYPROJECT, "api")) | set(script.requirements(PYPROJECT, "worker"))


def test_an_unknown_extra_is_an_error(script):
    with pytest.raises(KeyError):
        script.requirements(PYPROJECT, "gpu")


@pytest.mark.parametrize("requirement", ALL, ids=lambda requirement: requirement.name)
def test_every_requirement_has_a_pin_that_satisfies_it(requirement):
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin, prereleases=True), "run `make constraints`"


def test_everything_that_requirements_install_has_a_pin():
    on_other_systems = {"colorama", "pywin32"}
    names = closure([line for line in [*PROJECT["dependencies"], *EXTRAS["api"], *EXTRAS["worker"], *EXTRAS["dev"]]
                     if not line.startswith("undegrade[")])  # fmt: skip
    missing = {name for name in names if not name.startswith(("nvidia-", "cuda-", "triton"))} - set(PINS)
    assert missing <= on_other_systems, "run `make constraints`"


def test_a_pin_fits_cpu_and_cuda_alike():
    assert not [name for name in PINS if name.startswith(("nvidia-", "cuda-", "triton"))]
    assert not [pin for pin in PINS.values() if "+" in pin or ";" in pin]


@pytest.mark.parametrize(
    ("build", "expected"),
    [("cpu", "torch==2.13.0+cpu"), ("cu126", "torch==2.13.0+cu126"), ("cuda", "torch===2.13.0")],
)
def test_a_build_of_torch_is_asked_for_by_its_label(script, build, expected):
    assert script.torch_pin("numpy==2.0.0\ntorch==2.13.0\n", build) == expected


def test_the_build_without_label_refuses_one_with_a_label(script):
    specifier = Requirement(script.torch_pin("torch==2.13.0", "cuda")).specifier
    assert specifier.contains("2.13.0") and not specifier.contains("2.13.0+cpu")


@pytest.mark.parametrize("build", ["", "gpu", "cpu\nevil", "cu"])
def test_another_build_of_torch_is_refused(script, build):
    with pytest.raises(ValueError, match="expected cpu, cuda"):
        script.torch_pin("torch==2.13.0", build)


def test_the_makefile_installs_with_the_constraints():
    assert re.search(r"pip install .*--constraint constraints\.txt", (ROOT / "Makefile").read_text())


def test_the_file_is_as_its_script_writes_it(constraints):
    assert constraints.as_constraints(CONSTRAINTS) == CONSTRAINTS


def test_a_marker_stays_only_where_systems_need_different_versions(constraints):
    resolved = (
        "colorama==1 ; sys_platform == 'win32'\nnumpy==2.2 ; python_version < '3.12'\n"
        "numpy==2.4 ; python_version >= '3.12'\nnvidia-cublas==13 ; sys_platform == 'linux'\n    # via torch\n"
    )
    lines = constraints.as_constraints(resolved).splitlines()[2:]
    assert lines == ["colorama==1", "numpy==2.2 ; python_version < '3.12'", "numpy==2.4 ; python_version >= '3.12'"]


def test_pip_reads_the_settings_that_the_build_gets(pip_settings, tmp_path):
    settings = {"index-url": "https://mirror.example/simple", "find-links": f"{tmp_path} https://example.org/wheels"}
    (tmp_path / "pip.conf").write_text(pip_settings.as_file(settings))
    environment = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    for name, value in settings.items():
        assert f"global.{name}='{value}'" in listed


def test_only_folders_of_this_machine_are_mounted_and_an_index_with_its_files(pip_settings, tmp_path):
    (tmp_path / "index" / "simple").mkdir(parents=True)
    (tmp_path / "ca.pem").touch()
    settings = {
        "extra-index-url": f"file://{tmp_path}/index/simple https://example.org/simple", "cert": f"{tmp_path}/ca.pem",
        "find-links": "/nowhere/at/all",
    }  # fmt: skip
    assert pip_settings.local_paths(settings) == [tmp_path, tmp_path / "index"]


def test_a_variable_overrides_the_file_as_in_pip(pip_settings, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    assert pip_settings.machine_settings()["index-url"] == "https://mirror.example/simple"
