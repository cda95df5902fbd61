"""The first two stages: what the device is and how fast it can be, and the tests that need one."""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from conditions import Timer

from gpu_stages.options import Options
from gpu_stages.runner import Row

ROOT = Path(__file__).parents[2]
PACKAGES = ("numpy", "pillow", "diffusers", "open_clip_torch", "transformers", "huggingface_hub", "triton", "pydantic")
MARKED = re.compile(
    r"^\s*@pytest\.mark\.gpu\b|^\s*pytestmark = .*\bgpu\b|\b(on_cpu_and_cuda|needs_cuda)\b", re.MULTILINE
)
TWINS = "on_gpu and cpu and not restored and not half"
"""The quick ones: on a CPU the stage shows that all files can be collected, and `make test` runs the others."""
TESTED = re.compile(r"^(tests/\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")


def facts(options: Options) -> Iterator[Row]:
    """Card, driver and versions; the measured rates of copies and of matrix products."""
    device = options.device
    card = torch.cuda.get_device_name(device) if options.on_cuda else "CPU"
    yield {"torch": torch.__version__, "cuda": torch.version.cuda, "card": card, "driver": _driver(options)}
    yield {"python": sys.version.split()[0], **{name: _version(name) for name in PACKAGES}}
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        yield {"matmul of": str(dtype).removeprefix("torch."), "TFLOP/s": matmul_tflops(options, dtype)}
    for way, rate in copy_rates(options).items():
        yield {"copy": way, "GB/s": rate}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _driver(options: Options) -> str:
    if not options.on_cuda:
        return "none"
    words = ["nvidia-smi", "--query-gpu=driver_version,memory.total", "--format=csv,noheader"]
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown: {error}"


def matmul_tflops(options: Options, dtype: torch.dtype = torch.float16) -> float:
    """Returns the rate of products of large square matrices: the ceiling of every network."""
    side = 8192 if options.on_cuda else 256
    left = torch.randn(side, side, device=options.device).to(dtype)
    seconds = median_seconds(lambda: left @ left, options, calls=10 if options.on_cuda else 1)
    return 2 * side**3 / seconds / 1e12


def copy_rates(options: Options) -> dict[str, float]:
    """Returns GB/s by way; a copy within the device counts the bytes read and those written."""
    count = 2**28 if options.on_cuda else 2**22
    plain = torch.zeros(count, dtype=torch.uint8)
    host = plain.pin_memory() if options.on_cuda else plain
    there, other = torch.empty_like(plain, device=options.device), torch.empty_like(plain, device=options.device)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "pinned host to device": (1, lambda: there.copy_(host, non_blocking=True)),
        "pageable host to device": (1, lambda: there.copy_(plain)),
        "device to pinned host": (1, lambda: host.copy_(there, non_blocking=True)),
        "within the device": (2, lambda: other.copy_(there)),
    }
    return {way: times * count / median_seconds(copy, options) / 1e9 for way, (times, copy) in ways.items()}


def median_seconds(action: Callable[[], object], options: Options, calls: int = 1, repeats: int = 5) -> float:
    """Returns the median seconds of one call after a warm-up, of several runs of some calls each."""
    action()
    found = []
    for _ in range(repeats):
        with Timer(options.device) as timer:
            for _ in range(calls):
                action()
        found.append(timer.wall_s / calls)
    return median(found)


def gpu_tests(options: Options) -> Iterator[Row]:
    """The tests that need a GPU, each a row as it ends; on a CPU some of their twins.

    Only the files that have such tests are collected: others import packages that a GPU machine may lack.  Warnings
    are no errors here, because its libraries have other versions.
    """
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-W", "default", "--color=no"]
    words += ["-m", "gpu"] if options.on_cuda else ["-m", "not slow", "-k", TWINS]
    child = subprocess.Popen(
        [*words, *tested_files()], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    last = ""
    for line in child.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
        if found := TESTED.match(line):
            yield {"test": found[1], "result": found[2].lower()}
    code = child.wait()
    yield {"pytest": last, "exit code": code}
    if code:
        raise RuntimeError("a gpu test failed; log.txt says why")


def tested_files() -> list[str]:
    """Returns the files with tests that need a GPU, from the root of the repository."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if MARKED.search(file.read_text())]
