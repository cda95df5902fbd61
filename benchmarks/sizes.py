"""Measure the seconds and the peak memory of `undegrade restore` by photo size (`make bench`).

Each row is a new process that restores one photo, so the seconds and the peak include start and weights.

Example: python benchmarks/sizes.py --megapixels 1 6 -- --only noise --max-passes 1
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from conditions import NOISY_PHOTO, Timer, header, make_parser
from PIL import Image

COMMAND = Path(sys.executable).with_name("undegrade")


def make_photo(megapixels: float, folder: Path) -> Path:
    """Returns the path of a 4:3 photo of this size, made of copies of the noisy sample at its own scale."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    sample, large = Image.open(NOISY_PHOTO), Image.new("RGB", (width, width * 3 // 4))
    for top in range(0, large.height, sample.height):
        for left in range(0, large.width, sample.width):
            large.paste(sample, (left, top))
    path = folder / f"{megapixels:g}mp.jpg"
    large.save(path, quality=95)
    return path


def measure(path: Path, out: Path, options: list[str]) -> tuple[float, float]:
    """Returns the wall seconds and the peak MiB of one run, including start and weights."""
    command = [str(COMMAND), "restore", str(path), "-o", str(out), *options]
    with Timer() as timer:
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return timer.wall_s, usage.ru_maxrss / 1024  # Linux reports KiB


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 6, 24], help="photo sizes")
    parser.add_argument("options", nargs="*", help="options of `undegrade restore`, after --")
    arguments = parser.parse_args()
    options = arguments.options or ["--only", "noise", "--max-passes", "1"]
    print(header(f"restore {' '.join(options)}"))
    print(f"{'megapixels':>10} {'seconds':>9} {'s per MP':>9} {'peak MiB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in arguments.megapixels:
            source = make_photo(megapixels, Path(folder))
            seconds, peak_mib = measure(source, Path(folder) / f"out-{source.name}", options)
            print(f"{megapixels:10g} {seconds:9.1f} {seconds / megapixels:9.2f} {peak_mib:9.0f}", flush=True)


if __name__ == "__main__":
    main()
