"""Makes the modules of benchmarks/ importable.  Last on the path: benchmarks/service.py must not hide the room."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
