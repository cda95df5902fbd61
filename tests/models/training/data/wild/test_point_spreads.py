"""Our own point spreads, and those read from files."""

import pickle

import cv2
import numpy as np
import pytest

from models.errors import TrainingError
from models.training.data.wild import degrade, load_point_spreads, own_point_spreads


def test_our_point_spreads_have_the_published_shapes_and_sum_to_one():
    spreads = own_point_spreads()
    assert len(spreads.shakes) == 100
    assert all(len(kernel) % 2 == 1 and 5 <= len(kernel) <= 29 for kernel in spreads.shakes)
    for kernel in spreads.shakes:
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
    for display in spreads.displays:
        np.testing.assert_allclose(display.sum(axis=(0, 1)), 1, atol=1e-4)


def test_the_red_spread_of_a_display_is_the_blue_one_scaled_by_the_ratio_of_wavelengths():
    for display in own_point_spreads().displays:
        blue, red = np.log(display[..., 0] + 1e-9), np.log(display[..., 2] + 1e-9)

        def correlation(zoom, blue=blue, red=red):
            matrix = np.array([[zoom, 0, 32 * (1 - zoom)], [0, zoom, 32 * (1 - zoom)]])
            return np.corrcoef(cv2.warpAffine(blue, matrix, (65, 65)).ravel(), red.ravel())[0, 1]

        best = max(np.arange(0.8, 1.8, 0.05), key=correlation)
        assert best == pytest.approx(615 / 460, abs=0.1)


def test_point_spreads_are_read_from_the_published_format_and_from_npz(tmp_path, spreads_file, picture):
    kernels = {index: np.full((5 + 2 * (index % 3), 5 + 2 * (index % 3)), 1.0 + index) for index in range(12)}
    with (tmp_path / "psf.pkl").open("wb") as file:
        pickle.dump(kernels, file, protocol=2)
    np.savez(tmp_path / "psf.npz", **{f"psf{index}": kernel for index, kernel in kernels.items()})
    for name in ("psf.pkl", "psf.npz"):
        read = load_point_spreads(tmp_path / name).shakes
        assert [kernel.max() for kernel in read] == [1.0 + index for index in range(12)]
    authors = load_point_spreads(spreads_file, spreads_file)
    assert (len(authors.shakes), len(authors.displays)) == (100, 3)
    assert not np.array_equal(degrade(picture, 63, spreads=authors).image, picture)


class RunsCode:
    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    (tmp_path / "psf.pkl").write_bytes(pickle.dumps([RunsCode()]))
    with pytest.raises(TrainingError, match="may run code"):
        load_point_spreads(tmp_path / "psf.pkl")


def test_a_file_without_kernels_is_refused(tmp_path):
    np.savez(tmp_path / "psf.npz", a=np.zeros((3, 4)))
    with pytest.raises(TrainingError, match=r"psf\.npz holds no kernels of K x K"):
        load_point_spreads(tmp_path / "psf.npz")
