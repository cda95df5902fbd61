"""AutoDIR at its full size with random weights: the checkpoint, the converted bundle, and a photo."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"
MEMORY_BYTES = 10 * 10**9
"""For 1.487 billion weights in float32, the half-precision file of one network, and libraries."""
DISK_BYTES = 10 * 10**9
"""For the checkpoint in float32 and the bundle in half precision."""

BUILD = "import sys, torch, weights; torch.save(weights.autodir_checkpoint(weights.Path(sys.argv[1])), sys.argv[2])"


@dataclass(frozen=True)
class Finished:
    """Exit code, output and peak memory, including memory-mapped files, of a process."""

    code: int
    out: str
    err: str
    peak_bytes: int


def _environment() -> dict[str, str]:
    """Returns the environment without settings and with one thread, so that sums are computed in the same order."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNDEGRADE_")}
    return {**kept, "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1"}


def _run(arguments: list[str], folder: Path, **variables: str) -> Finished:
    """Run Python in a separate process, which frees its memory at the end."""
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=out, stderr=err, cwd=ROOT, env={**_environment(), **variables}
        )  # fmt: skip
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
        output = [file.seek(0) or file.read() for file in (out, err)]
    return Finished(process.returncode, *output, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


@pytest.fixture(scope="session")
def environment() -> Callable[[], dict[str, str]]:
    return _environment


@pytest.fixture(scope="session")
def run() -> Callable[..., Finished]:
    return _run


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that is removed at the end, because pytest keeps its own for three runs."""
    if (memory := psutil.virtual_memory().available) < MEMORY_BYTES:
        pytest.skip(f"{memory / 1e9:.1f} GB of memory are free, expected {MEMORY_BYTES / 1e9:.0f}")
    if (disk := shutil.disk_usage(tempfile.gettempdir()).free) < DISK_BYTES:
        pytest.skip(f"{disk / 1e9:.1f} GB of {tempfile.gettempdir()} are free, expected {DISK_BYTES / 1e9:.0f}")
    with tempfile.TemporaryDirectory(prefix="undegrade-full-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def released(shared: Path, folder: Path) -> Path:
    """A random checkpoint with the keys, shapes and types of the released file."""
    keys = shared / "parity" / "autodir" / "keys_full.tsv"
    path = folder / "autodir.ckpt"
    done = _run(["-c", BUILD, str(keys), str(path)], folder, PYTHONPATH=str(ROOT / "tests" / "parity"))
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="session")
def converted(released: Path, folder: Path) -> tuple[Path, Finished, int]:
    """The bundle, the conversion process, and the size of the checkpoint in bytes, which is then deleted."""
    size, bundle = released.stat().st_size, folder / "autodir"
    words = ["-m", "cli", "models", "convert", "autodir", str(released), "--out", str(bundle), "--accept-license"]
    done = _run(words, folder)
    released.unlink()
    return bundle, done, size


@pytest.fixture(scope="session")
def photo(folder: Path) -> Path:
    """A lossless crop of a photo, 256 x 256 px."""
    with Image.open(PHOTO) as whole:
        whole.convert("RGB").crop((40, 40, 296, 296)).save(folder / "photo.png")
    return folder / "photo.png"
