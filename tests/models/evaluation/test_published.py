"""The published figures: each has a source, finds its pairs, and is measured on the channels of its paper."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle import DEFAULT_BUNDLE, find_bundle, read_manifest
from models.errors import ControlsError
from models.evaluation.pairs import Pair, find_pairs
from models.evaluation.published import Figure, published_systems, spread, system_of
from models.psnr import psnr

FIGURES = [(name, figure) for name, system in published_systems().items() for figure in system.figures]


@pytest.mark.parametrize(("name", "figure"), FIGURES, ids=[f"{name}-{figure.benchmark}" for name, figure in FIGURES])
def test_a_figure_has_a_source_and_finds_its_pairs_or_says_why_it_cannot(name, figure):
    assert len(figure.source) > 20 and 15 < figure.psnr_db < 45
    assert bool(figure.task) == bool(figure.files) == (not figure.note)
    assert figure.strict == (name == "autodir" and not figure.note)


def test_a_system_without_figures_says_why():
    for system in published_systems().values():
        assert bool(system.figures) != bool(system.reason)


def test_the_mean_of_maxims_five_rain_sets_is_the_one_in_its_readme():
    """Two of the five are of benchmarks that we do not list: Test100 31.17, Test1200 32.37."""
    listed = [figure.psnr_db for _, figure in FIGURES if figure.channels == "Y"]
    assert (sum(listed) + 31.17 + 32.37) / 5 == pytest.approx(33.24, abs=0.005)


def figure(**fields):
    return Figure(**{"benchmark": "b", "psnr_db": 30, "images": 0, "channels": "RGB", "source": "s", **fields})


def test_y_is_the_luma_of_matlab():
    """An equal error of all channels is 219 / 255 as large in Y: 1.32 dB.  An error in blue alone counts least."""
    truth = np.full((8, 8, 3), 100, np.uint8)
    gray, blue = truth + np.uint8(10), truth + np.array([0, 0, 10], np.uint8)
    on_y, on_rgb = figure(channels="Y"), figure()
    assert on_rgb.psnr(gray, truth) == pytest.approx(psnr(gray, truth))
    assert on_y.psnr(gray, truth) - on_rgb.psnr(gray, truth) == pytest.approx(20 * np.log10(255 / 219), abs=1e-6)
    assert on_y.psnr(blue, truth) == pytest.approx(20 * np.log10(255 / (10 * 24.966 / 255)), abs=1e-6)


def test_pairs_are_found_by_task_and_file_name_and_only_with_a_ground_truth(tmp_path):
    for task, name in (("deblur", "GoPro_1.png"), ("deblur", "hide_1.png"), ("derain", "gopro_1.png")):
        for kind in ("lq", "gt"):
            (tmp_path / task / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / task / kind / name).touch()
    (tmp_path / "real" / "lq").mkdir(parents=True)
    (tmp_path / "real" / "lq" / "gopro_2.png").touch()
    found = find_pairs(tmp_path)
    assert [pair.name for pair in figure(task="deblur", files="gopro").pairs(found)] == ["GoPro_1.png"]
    assert figure(task="real", files="gopro").pairs(found) == []


def test_a_limit_takes_pairs_from_the_whole_benchmark():
    pairs = [
        Pair(task="t", subset="s", name=str(number), degraded=Path(), truth=None, expected=None)
        for number in range(100)
    ]
    assert [pair.name for pair in spread(pairs, 4)] == ["0", "25", "50", "75"]
    assert spread(pairs, None) == spread(pairs, 1000) == pairs


def test_systems_are_recognized_by_their_manifests():
    own = read_manifest(find_bundle(DEFAULT_BUNDLE))
    with pytest.raises(ControlsError, match="not converted from a checkpoint of a paper"):
        system_of(own)
    systems = published_systems()
    converted = own.model_copy(update={"description": "as its authors released it, converted from a.ckpt"})
    assert system_of(converted) is systems["autodir"]
    assert system_of(converted.model_copy(update={"family": "daclip"})) is systems["daclip"]
    wild = {"family": "daclip", "trained_on": "LSDIR (arXiv:2404.09732)"}
    assert system_of(converted.model_copy(update=wild)) is systems["daclip-wild"]
    with_maxim = {
        "networks": {**own.networks, "specialists": {"deblurring": {"names": ["blur"], "maxim": {"stages": 3}}}}
    }
    assert system_of(own.model_copy(update=with_maxim)) is systems["maxim"]
