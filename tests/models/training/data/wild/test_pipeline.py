"""The three phases as a whole: odds, seeds, ranges, and the command."""

import pickle
import subprocess
import sys
from collections import Counter

import cv2
import numpy as np
import pytest

from models.errors import TrainingError
from models.training.data.wild import WildConfig, degrade, degrade_rgb, load_point_spreads, own_point_spreads


@pytest.fixture(scope="module")
def many():
    """What is said of 1500 small pictures."""
    image = np.random.RandomState(0).rand(24, 24, 3).astype(np.float32)
    return [degrade(image, seed).words for seed in range(1500)]


def test_a_seed_gives_the_same_picture_and_another_seed_another(picture):
    first, again, other = degrade(picture, 5), degrade(picture, 5), degrade(picture, 6)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.words == again.words
    assert not np.array_equal(first.image, other.image)


def test_neither_numpys_nor_pythons_own_generators_are_touched(picture):
    import random

    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].copy()
    degrade(picture, 3)
    assert random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("seed", range(20))
def test_the_result_has_the_same_size_and_lies_on_the_8_bit_grid(picture, seed):
    image = degrade(picture, seed).image
    assert image.shape == picture.shape
    assert image.dtype == np.float32
    assert image.min() >= 0 and image.max() <= 1
    np.testing.assert_allclose(image * 255, np.rint(image * 255), atol=1e-4)


def test_words_come_as_often_as_the_published_odds_say(many):
    """Expected counts by arithmetic: phases (1, 2, 3) for noise .4 + .2, JPEG .4 + .4, blur .8 + .4 + .8 and 2 x .8."""
    count = Counter(word for words in many for word in words)
    assert count["noise"] / 1500 == pytest.approx(0.6, abs=0.06)
    assert count["jpeg block"] / 1500 == pytest.approx(0.8, abs=0.07)
    assert count["blur"] / 1500 == pytest.approx(3.6, abs=0.15)
    # sinc, else a Wiener filter at .1 where the kernel is of 5 or 7 px: 2 of 8 sizes, 2 of 3, 2 of 8
    ringing = 0.8 * (0.1 + 0.9 * 0.1 * 2 / 8) + 0.4 * (0.1 + 0.9 * 0.1 * 2 / 3) + 0.8 * (0.8 + 0.2 * 0.1 * 2 / 8)
    assert count["ringing artifact"] / 1500 == pytest.approx(ringing, abs=0.07)


def test_with_all_odds_at_zero_the_picture_is_only_rounded(picture):
    calm = WildConfig(blur=0, resize=0, noise=0, jpeg=0, under_display=0)
    done = degrade(picture, 0, calm)
    assert done.words == ()
    np.testing.assert_allclose(done.image, np.rint(picture * 255) / 255, atol=1e-6)


def test_both_resizes_happen_or_neither(picture):
    only = WildConfig(blur=0, noise=0, jpeg=0, under_display=0, resize=0.5)
    assert {degrade(picture, seed, only).words for seed in range(40)} == {(), ("blur", "blur")}


def test_rgb_is_the_same_picture_in_the_other_order(picture):
    rgb = degrade_rgb(picture[..., ::-1], 4).image
    np.testing.assert_array_equal(rgb, degrade(picture, 4).image[..., ::-1])


def test_our_point_spreads_have_the_published_shapes_and_keep_the_light():
    spreads = own_point_spreads()
    assert len(spreads.shakes) == 100
    assert all(len(kernel) % 2 == 1 and 5 <= len(kernel) <= 29 for kernel in spreads.shakes)
    for kernel in spreads.shakes:
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
    for display in spreads.displays:
        np.testing.assert_allclose(display.sum(axis=(0, 1)), 1, atol=1e-4)


def test_a_displays_red_spread_is_its_blue_one_magnified_by_the_wavelengths_ratio():
    for display in own_point_spreads().displays:
        blue, red = np.log(display[..., 0] + 1e-9), np.log(display[..., 2] + 1e-9)

        def likeness(zoom, blue=blue, red=red):
            matrix = np.array([[zoom, 0, 32 * (1 - zoom)], [0, zoom, 32 * (1 - zoom)]])
            return np.corrcoef(cv2.warpAffine(blue, matrix, (65, 65)).ravel(), red.ravel())[0, 1]

        best = max(np.arange(0.8, 1.8, 0.05), key=likeness)
        assert best == pytest.approx(615 / 460, abs=0.1)


def test_point_spreads_are_read_from_the_published_form_and_from_npz(tmp_path, spreads_file, picture):
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


class Malice:
    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path):
    (tmp_path / "psf.pkl").write_bytes(pickle.dumps([Malice()]))
    with pytest.raises(TrainingError, match="may run code"):
        load_point_spreads(tmp_path / "psf.pkl")


def test_a_file_without_kernels_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "psf.npz", a=np.zeros((3, 4)))
    with pytest.raises(TrainingError, match=r"psf\.npz holds no kernels of K x K"):
        load_point_spreads(tmp_path / "psf.npz")


def test_the_command_writes_a_contact_sheet(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "photo.png"), (picture * 255).astype(np.uint8))
    command = [sys.executable, "-m", "models.training.data.wild", str(tmp_path / "photo.png"), "--columns", "2"]
    done = subprocess.run([*command, "--tile-px", "48", "--out", str(tmp_path / "sheet.png")], timeout=120)
    assert done.returncode == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (48 + 16, 3 * 48, 3)
    np.testing.assert_array_less(np.abs(sheet[:48, :48].astype(int) - (picture[:, 8:56] * 255)), 2)
    missing = subprocess.run(
        [*command[:3], str(tmp_path / "no.png"), "--out", "x.png"], capture_output=True, timeout=60
    )
    assert missing.returncode == 3 and b"cannot be decoded" in missing.stderr
