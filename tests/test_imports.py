"""Modules that a fresh process loads: the command line lists, refuses and helps without waiting for torch."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "open_clip", "diffusers"}
NOT_FOR_RESTORING = ("cv2", "models.training", "models.evaluation")


def loaded_after(statement: str) -> list[str]:
    """The names of the modules that a fresh interpreter holds after this statement."""
    script = f"{statement}\nimport sys\nsys.stdout.write(' '.join(sys.modules))"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return process.stdout.split()


@pytest.mark.parametrize("module", ["models.vocabulary", "models.photo.read", "models.errors", "cli.main"])
def test_a_light_module_leaves_torch_unloaded(module):
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in loaded_after(f"import {module}"))


def test_restoring_loads_neither_opencv_nor_the_training_code():
    loaded = loaded_after("import models.families, models.drive")
    assert "models.drive" in loaded
    assert not [name for name in loaded if name.startswith(NOT_FOR_RESTORING)]
