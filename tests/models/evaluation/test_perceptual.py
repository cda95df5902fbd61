"""Learned metrics: no value without weights, and the values of the libraries with random weights.

The Fréchet distance is compared with closed forms and with the textbook formula.
"""

import math
import socket

import numpy as np
import pytest
import torch

from models.errors import ControlsError
from models.evaluation.features import FeatureStore
from models.evaluation.frechet import frechet_distance
from models.evaluation.measurements import Row
from models.evaluation.perceptual import (
    LEARNED_METRICS,
    LearnedMetric,
    LoadedMetrics,
    load_metrics,
    parse_metric_names,
    torch_cache,
)
from models.networks.torchvision_mend import mend_torchvision

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 112, 3), dtype=np.uint8)


@pytest.fixture
def nothing_on_disk(tmp_path, monkeypatch):
    """An empty home and cache, and no network."""

    def refuse(*words):
        raise AssertionError("a metric went to the network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def metric(folder, *files, modules=("json",)):
    return LearnedMetric(
        name="some",
        lower_is_better=True,
        needs_truth=True,
        modules=modules,
        install="pip install some",
        folder=lambda: folder,
        files=files,
    )


def test_without_weights_there_is_a_note_with_file_and_folder_and_no_value(nothing_on_disk):
    learned_metrics = load_metrics(list(LEARNED_METRICS))
    assert learned_metrics.names == () and learned_metrics.features is None
    assert learned_metrics.measure(PICTURE, PICTURE) == {}
    for name, note in zip(LEARNED_METRICS, learned_metrics.notes, strict=True):
        assert note.startswith(f"{name} was not measured")
        assert all(file in note for file in LEARNED_METRICS[name].files)
        assert f"in {LEARNED_METRICS[name].folder()}" in note and str(nothing_on_disk) in note


def test_an_unknown_metric_is_refused_with_the_known_ones():
    with pytest.raises(ControlsError, match=r"'niqe'.*lpips, dists, clip-iqa, musiq, fid"):
        load_metrics(["niqe"])
    assert parse_metric_names(["lpips,dists", "fid", ""]) == ["lpips", "dists", "fid"]


def test_a_missing_library_is_named_with_the_install_command(tmp_path):
    note = metric(tmp_path, modules=("no_such_library",)).why_unavailable()
    assert "no_such_library (pip install some)" in note


def test_a_file_with_code_or_an_incomplete_file_is_not_loaded(tmp_path):
    class Program:
        def __reduce__(self):
            return (print, ("never",))

    torch.save({"a": torch.zeros(3)}, tmp_path / "good.pth")
    torch.save({"a": Program()}, tmp_path / "program.pth")
    (tmp_path / "short.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:200])
    (tmp_path / "page.pth").write_text("<html>")
    assert metric(tmp_path, "good.pth").why_unavailable() is None
    for name in ("program.pth", "short.pth", "page.pth"):
        assert (
            f"{name} contains more than weights, or is incomplete"
            in metric(tmp_path, "good.pth", name).why_unavailable()
        )


def test_a_metric_that_needs_a_ground_truth_is_skipped_without_one():
    def never(picture, truth):
        assert truth is not None
        return 1.0

    learned_metrics = LoadedMetrics(
        scores={"lpips": never, "musiq": lambda picture, _: float(picture.max())}, features=None, notes=()
    )
    assert learned_metrics.measure(PICTURE, None) == {"musiq": pytest.approx(1.0)}  # pictures are passed in [0, 1]
    assert [*learned_metrics.measure(PICTURE, PICTURE)] == ["lpips", "musiq"]


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """Random AlexNet and VGG16 files in torchvision's format; the classifiers, which no metric uses, have one value."""
    mend_torchvision()  # before torchmetrics, which imports torchvision
    pytest.importorskip("torchmetrics", reason="needs pip install 'undegrade[metrics]'")
    import torchvision

    home = tmp_path_factory.mktemp("torch")
    (home / "hub/checkpoints").mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for network, name in ((torchvision.models.alexnet, "lpips"), (torchvision.models.vgg16, "dists")):
            state = network().state_dict()
            small = {
                key: value if "features" in key else torch.zeros(1).expand(value.shape) for key, value in state.items()
            }
            torch.save(small, home / "hub/checkpoints" / LEARNED_METRICS[name].files[0])
    return home


def test_lpips_and_dists_come_from_the_library_without_network_access(random_weights, nothing_on_disk, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(random_weights))
    assert torch_cache() == random_weights / "hub/checkpoints"
    learned_metrics = load_metrics(["lpips", "dists"])
    assert learned_metrics.notes == ()
    same = learned_metrics.measure(PICTURE, PICTURE)
    grain = np.random.default_rng(1).normal(0, 1, PICTURE.shape)
    little, much = (np.clip(PICTURE + spread * grain, 0, 255).astype(np.uint8) for spread in (5, 40))
    near, far = learned_metrics.measure(little, PICTURE), learned_metrics.measure(much, PICTURE)
    for name in ("lpips", "dists"):
        assert abs(same[name]) < 1e-6 < near[name] < far[name]


def textbook(a, b):
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), the root by eigenvalues (Heusel et al. 2017)."""
    covariances = [np.cov(rows, rowvar=False) for rows in (a, b)]
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    return np.square(a.mean(0) - b.mean(0)).sum() + sum(np.trace(one) for one in covariances) - 2 * root


@pytest.mark.parametrize(("n", "m"), [(40, 50), (4, 50), (40, 3), (4, 5)])
def test_the_distance_equals_the_textbook_formula_for_large_and_small_sets(n, m):
    generator = np.random.default_rng(n * m)
    a, b = generator.normal(0, 1, (n, 8)), generator.normal(0.5, 2, (m, 8))
    assert frechet_distance(a, b) == pytest.approx(textbook(a, b), rel=1e-6)


def test_the_distance_of_two_one_dimensional_sets_has_a_closed_form():
    a, b = np.array([[1.0], [3.0]]), np.array([[10.0], [18.0]])  # means 2 and 14, deviations sqrt 2 and sqrt 32
    assert frechet_distance(a, b) == pytest.approx(12**2 + (math.sqrt(32) - math.sqrt(2)) ** 2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_one_photo_has_no_distance():
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))


def row(task, name, truth=True):
    return Row(task=task, subset=task, name=name, scores={"psnr": 1.0} if truth else {})


def flat(value):
    return np.full((4, 4, 3), value, np.uint8)


def test_distances_cover_tasks_and_all_pairs_and_include_a_tool_added_later(tmp_path):
    store = FeatureStore(tmp_path, lambda picture: np.array([picture.mean()], np.float32))
    rows = [row("denoise", "a"), row("denoise", "b"), row("rain", "a"), row("snow", "c", truth=False)]
    for one, value in zip(rows, (10, 20, 30, 40), strict=True):
        truth = {"truth": flat(value)} if one.scores else {}
        store.keep(one, {"input": flat(value + 7), "auto": flat(value), **truth})
    store.keep(rows[0], {"tool": flat(0), "truth": flat(10)})
    found = store.distances(rows)
    assert [*found] == ["denoise", "all pairs"]  # rain has one photo, so no covariance
    assert found["denoise"] == {
        "input": pytest.approx(49),
        "auto": pytest.approx(0, abs=1e-9),
    }  # the tool has one photo
    assert found["all pairs"]["input"] == pytest.approx(49)
    store.keep(rows[1], {"tool": flat(10), "truth": flat(20)})
    assert store.distances(rows)["denoise"]["tool"] == pytest.approx(100)


def test_clean_photos_are_not_included(tmp_path):
    store = FeatureStore(tmp_path, lambda picture: np.array([picture.mean()], np.float32))
    one = row("clean", "denoise/a.png")
    store.keep(one, {"auto": flat(1), "truth": flat(1)})
    assert store.distances([one]) == {}
