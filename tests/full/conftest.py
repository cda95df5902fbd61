"""The released system at its full size with random weights: built, converted, and a photo for it."""

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
KEYS = ROOT.parent / "shared" / "parity" / "autodir" / "keys_full.tsv"
PHOTO = ROOT / "examples" / "raccoon-noisy.jpg"
MEMORY_BYTES = 10 * 10**9
"""1.487 billion weights in float32, a network's half-precision file beside them, and libraries."""
DISK_BYTES = 10 * 10**9
"""The checkpoint in float32 and the bundle in half precision."""

BUILD = "import sys, torch, weights; torch.save(weights.autodir_checkpoint(weights.Path(sys.argv[1])), sys.argv[2])"


@dataclass(frozen=True)
class Ended:
    """How a process ended, what it said, and the most memory it had (files that it mapped count)."""

    code: int
    out: str
    err: str
    peak_bytes: int


def _environment() -> dict[str, str]:
    """This one without settings, and with one thread, so that two runs add up in the same order."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNDEGRADE_")}
    return {**own, "OMP_NUM_THREADS": "1", "UNDEGRADE_THREADS": "1"}


def _run(words: list[str], folder: Path, **more: str) -> Ended:
    """A Python process of its own, so that its memory is free again after it."""
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen(
            [sys.executable, *words], stdout=out, stderr=err, cwd=ROOT, env={**_environment(), **more}
        )  # fmt: skip
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
        said = [file.seek(0) or file.read() for file in (out, err)]
    return Ended(process.returncode, *said, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


@pytest.fixture(scope="session")
def environment() -> Callable[[], dict[str, str]]:
    return _environment


@pytest.fixture(scope="session")
def run() -> Callable[..., Ended]:
    return _run


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A place for gigabytes, gone at the end: pytest's own would stay for three runs."""
    if not KEYS.is_file():
        pytest.skip("../shared/parity/autodir/keys_full.tsv is not there: it names the released checkpoint's tensors")
    if (memory := psutil.virtual_memory().available) < MEMORY_BYTES:
        pytest.skip(f"{memory / 1e9:.1f} GB of memory are free, the full size wants {MEMORY_BYTES / 1e9:.0f}")
    if (disk := shutil.disk_usage(tempfile.gettempdir()).free) < DISK_BYTES:
        pytest.skip(f"{disk / 1e9:.1f} GB of {tempfile.gettempdir()} are free, expected {DISK_BYTES / 1e9:.0f}")
    with tempfile.TemporaryDirectory(prefix="undegrade-full-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def released(folder: Path) -> Path:
    """A random checkpoint of the released file's keys, shapes and types."""
    path = folder / "autodir.ckpt"
    done = _run(["-c", BUILD, str(KEYS), str(path)], folder, PYTHONPATH=str(ROOT / "tests" / "parity"))
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="session")
def converted(released: Path, folder: Path) -> tuple[Path, Ended, int]:
    """The bundle, how the conversion went, and the checkpoint's bytes; the checkpoint is gone."""
    size, bundle = released.stat().st_size, folder / "autodir"
    words = ["-m", "cli", "models", "convert", "autodir", str(released), "--out", str(bundle), "--accept-license"]
    done = _run(words, folder)
    released.unlink()
    return bundle, done, size


@pytest.fixture(scope="session")
def photo(folder: Path) -> Path:
    """256 x 256 pixels of a photograph, without loss."""
    with Image.open(PHOTO) as whole:
        whole.convert("RGB").crop((40, 40, 296, 296)).save(folder / "photo.png")
    return folder / "photo.png"
