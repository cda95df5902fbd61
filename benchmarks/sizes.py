"""`make bench`: how long a photo takes and how much memory it needs at its peak, by size.

Each row is a fresh process that restores one synthetic photo with the command, so the peak is that process's own.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from PIL import Image

COMMAND = Path(sys.executable).with_name("undegrade")
PHOTO = Path(__file__).parents[1] / "examples" / "raccoon-noisy.jpg"


def photo(megapixels: float, folder: Path) -> Path:
    """The noisy sample repeated to a 4:3 photo of this size: its own noise, at its own scale."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    sample, large = Image.open(PHOTO), Image.new("RGB", (width, width * 3 // 4))
    for top in range(0, large.height, sample.height):
        for left in range(0, large.width, sample.width):
            large.paste(sample, (left, top))
    path = folder / f"{megapixels:g}mp.jpg"
    large.save(path, quality=95)
    return path


def measure(path: Path, out: Path, words: list[str]) -> tuple[float, float]:
    """Seconds and peak MiB of one run, start and weights included."""
    command = [str(COMMAND), "restore", str(path), "-o", str(out), *words]
    start_s = time.monotonic()
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return time.monotonic() - start_s, usage.ru_maxrss / 1024  # Linux counts kibibytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 6, 24])
    parser.add_argument("words", nargs="*", help="more words for `undegrade restore`, after --")
    arguments = parser.parse_args()
    words = arguments.words or ["--only", "noise", "--max-passes", "1"]
    print(f"# {platform.machine()} · {os.cpu_count()} cores · torch {version('torch')} · restore {' '.join(words)}")
    print(f"{'megapixels':>10} {'seconds':>9} {'s per MP':>9} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in arguments.megapixels:
            source = photo(megapixels, Path(folder))
            seconds, peak_mib = measure(source, Path(folder) / f"out-{source.name}", words)
            print(f"{megapixels:10g} {seconds:9.1f} {seconds / megapixels:9.2f} {peak_mib:9.0f}", flush=True)


if __name__ == "__main__":
    main()
