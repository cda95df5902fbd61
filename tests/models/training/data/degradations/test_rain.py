"""The direction and brightness of rain streaks."""

import numpy as np
import pytest

from models.training.data.degradations.rain import streak_kernel


def test_a_streak_has_the_requested_direction():
    for lean in (-0.6, 0.0, 0.4):
        kernel = streak_kernel(30, 1.0, lean)
        rows, columns = np.nonzero(kernel > 0.5)
        slope = np.polyfit(rows, columns, 1)[0]
        assert slope == pytest.approx(np.tan(lean), abs=0.05)
        assert kernel.max() == pytest.approx(1, abs=0.02)
