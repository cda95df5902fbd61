"""Measure the seconds and the peak memory of `undegrade restore` by photo size (`make bench`).

Each row is a new process that restores one photo, so the seconds and the peak include start and weights.  With
`--against`, the program of another commit restores each photo as well, in turn, and the results are compared.

Example: python benchmarks/sizes.py --megapixels 1 6 -- --only noise --max-passes 1
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from conditions import NOISY_PHOTO, Timer, header, make_parser
from PIL import Image

HERE = Path(__file__).resolve().parents[1]


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


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit, and remove it afterwards."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True, capture_output=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


def measure(tree: Path, path: Path, out: Path, options: list[str]) -> tuple[float, float]:
    """Returns the wall seconds and the peak MiB of one run of a tree's program, including start and weights."""
    words = ["restore", str(path), "-o", str(out), "--exists", "replace", *options]
    command = [sys.executable, "-m", "cli", *words]
    with Timer() as timer:
        child = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise subprocess.CalledProcessError(child.returncode, command)
    return timer.wall_s, usage.ru_maxrss / 1024  # Linux reports KiB


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 6, 24], help="photo sizes")
    parser.add_argument("--against", metavar="REV", help="a commit to compare with")
    parser.add_argument("options", nargs="*", help="options of `undegrade restore`, after --")
    arguments = parser.parse_args()
    options = arguments.options or ["--only", "noise", "--max-passes", "1"]
    print(header(f"restore {' '.join(options)}"))
    print(f"{'program':>12} {'megapixels':>10} {'seconds':>9} {'s per MP':>9} {'peak MiB':>9}  result")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as trees:
        programs = {"this": HERE}
        if arguments.against:
            programs = {arguments.against: trees.enter_context(checked_out(arguments.against)), **programs}
        for megapixels in arguments.megapixels:
            source, out = make_photo(megapixels, Path(folder)), Path(folder) / "out.png"
            for name, tree in programs.items():
                seconds, peak_mib = measure(tree, source, out, options)
                digest = hashlib.sha256(out.read_bytes()).hexdigest()[:12]
                row = f"{name[:12]:>12} {megapixels:10g} {seconds:9.1f} {seconds / megapixels:9.2f} {peak_mib:9.0f}"
                print(f"{row}  {digest}", flush=True)


if __name__ == "__main__":
    main()
