"""Jumps of the wall clock of single processes: a small library that is loaded before all others, and a file that it
reads."""

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shift.c")
SIZE = 16
"""Bytes of the file.  It never shrinks, because processes have it in their memory."""


def can_shift() -> bool:
    """Returns whether the library can be built here."""
    return shutil.which("cc") is not None


def build(folder: Path) -> Path:
    """Build the library.

    Raises:
        OSError: the compiler fails; the message has what it says.
    """
    library = folder / "clock_shift.so"
    command = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise OSError(f"cc cannot build {SOURCE.name}: {built.stderr[-500:]}")
    return library


class Clock:
    """The clock of one part.  `env` must be in the environment of its process."""

    def __init__(self, library: Path, file: Path) -> None:
        self.file = file
        self.file.write_bytes(b"0".ljust(SIZE, b"\0"))
        self.env = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(file)}

    def shift(self, seconds: int) -> None:
        """Let the clock be so many seconds wrong from now on."""
        with self.file.open("r+b") as file:
            file.write(str(seconds).encode().ljust(SIZE, b"\0"))
