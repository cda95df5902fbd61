"""The published pipeline's answers at fixed seeds, and a picture to damage."""

import numpy as np
import pytest
from safetensors.numpy import load_file


@pytest.fixture(scope="session")
def ops(shared):
    """Kernels and operations of the authors' module."""
    return load_file(shared / "parity" / "daclip" / "d_ops.safetensors")


@pytest.fixture(scope="session")
def spreads_file(shared):
    """Their hundred shake kernels and stand-ins for the display spreads."""
    return shared / "parity" / "daclip" / "d_psf.safetensors"


@pytest.fixture
def picture():
    """(48, 64, 3) BGR with an edge, a ramp and color."""
    rows, columns = np.mgrid[:48, :64].astype(np.float32)
    image = np.stack([columns / 63, rows / 47, (columns > 30).astype(np.float32)], axis=-1)
    return np.clip(image, 0, 1)
