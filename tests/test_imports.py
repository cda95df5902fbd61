"""What a fresh process loads: the command line lists, refuses and helps without waiting for torch."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "open_clip", "diffusers")


def loaded_after(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after this statement."""
    script = f"{statement}\nimport sys\nsys.stdout.write(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["models.vocabulary", "models.photo.read", "models.errors", "cli.main"])
def test_a_light_module_leaves_torch_unloaded(module):
    assert loaded_after(f"import {module}").isdisjoint(HEAVY)


def test_restoring_loads_neither_opencv_nor_the_training_code():
    script = (
        "import models.families, models.drive, sys\n"
        "sys.stdout.write(' '.join(name for name in sys.modules if name.startswith(('cv2', 'models.'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert not [
        name for name in done.stdout.split() if name.startswith(("cv2", "models.training", "models.evaluation"))
    ]
