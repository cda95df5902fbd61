"""Learned metrics: never a number without its weights, and the libraries' own numbers with random ones.

The distance is checked against closed forms and against the textbook formula with a matrix root.
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
from models.evaluation.perceptual import KINDS, Judges, Kind, open_judges, read_names, torch_cache
from models.networks.torchvision_mend import mend_torchvision

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 112, 3), dtype=np.uint8)


@pytest.fixture
def nothing_on_disk(tmp_path, monkeypatch):
    """An empty home and cache, and no way to any server."""

    def refuse(*words):
        raise AssertionError("a metric went to the network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def kind(folder, *files, modules=("json",)):
    return Kind(
        name="some",
        lower_is_better=True,
        needs_truth=True,
        modules=modules,
        install="pip install some",
        folder=lambda: folder,
        files=files,
    )


def test_without_weights_there_is_a_note_that_names_file_and_folder_and_no_number(nothing_on_disk):
    judges = open_judges(list(KINDS))
    assert judges.names == () and judges.features is None
    assert judges.measure(PICTURE, PICTURE) == {}
    for name, note in zip(KINDS, judges.notes, strict=True):
        assert note.startswith(f"{name} was not measured")
        assert all(file in note for file in KINDS[name].files)
        assert f"in {KINDS[name].folder()}" in note and str(nothing_on_disk) in note


def test_a_name_that_is_no_metric_is_refused_with_those_that_are():
    with pytest.raises(ControlsError, match=r"'niqe'.*lpips, dists, clip-iqa, musiq, fid"):
        open_judges(["niqe"])
    assert read_names(["lpips,dists", "fid", ""]) == ["lpips", "dists", "fid"]


def test_a_missing_library_is_named_with_how_to_install_it(tmp_path):
    note = kind(tmp_path, modules=("no_such_library",)).lacking()
    assert "no_such_library (pip install some)" in note


def test_a_file_that_holds_a_program_or_is_cut_short_is_not_loaded(tmp_path):
    class Program:
        def __reduce__(self):
            return (print, ("never",))

    torch.save({"a": torch.zeros(3)}, tmp_path / "good.pth")
    torch.save({"a": Program()}, tmp_path / "program.pth")
    (tmp_path / "short.pth").write_bytes((tmp_path / "good.pth").read_bytes()[:200])
    (tmp_path / "page.pth").write_text("<html>")
    assert kind(tmp_path, "good.pth").lacking() is None
    for name in ("program.pth", "short.pth", "page.pth"):
        assert f"{name} holds more than weights, or is cut short" in kind(tmp_path, "good.pth", name).lacking()


def test_a_metric_that_needs_a_truth_is_not_asked_without_one():
    def never(picture, truth):
        assert truth is not None
        return 1.0

    judges = Judges(scores={"lpips": never, "musiq": lambda picture, _: float(picture.max())}, features=None, notes=())
    assert judges.measure(PICTURE, None) == {"musiq": pytest.approx(1.0)}  # pictures come in [0, 1]
    assert [*judges.measure(PICTURE, PICTURE)] == ["lpips", "musiq"]


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """AlexNet and VGG16 as torchvision's files hold them, random; classifiers, which no metric reads, of one value."""
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
            torch.save(small, home / "hub/checkpoints" / KINDS[name].files[0])
    return home


def test_lpips_and_dists_are_the_librarys_and_need_no_network(random_weights, nothing_on_disk, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(random_weights))
    assert torch_cache() == random_weights / "hub/checkpoints"
    judges = open_judges(["lpips", "dists"])
    assert judges.notes == ()
    same = judges.measure(PICTURE, PICTURE)
    grain = np.random.default_rng(1).normal(0, 1, PICTURE.shape)
    little, much = (np.clip(PICTURE + spread * grain, 0, 255).astype(np.uint8) for spread in (5, 40))
    near, far = judges.measure(little, PICTURE), judges.measure(much, PICTURE)
    for name in ("lpips", "dists"):
        assert abs(same[name]) < 1e-6 < near[name] < far[name]


def textbook(a, b):
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), the root by eigenvalues (Heusel et al. 2017)."""
    covariances = [np.cov(rows, rowvar=False) for rows in (a, b)]
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    return np.square(a.mean(0) - b.mean(0)).sum() + sum(np.trace(one) for one in covariances) - 2 * root


@pytest.mark.parametrize(("n", "m"), [(40, 50), (4, 50), (40, 3), (4, 5)])
def test_the_distance_is_the_textbooks_for_large_and_for_small_sets(n, m):
    generator = np.random.default_rng(n * m)
    a, b = generator.normal(0, 1, (n, 8)), generator.normal(0.5, 2, (m, 8))
    assert frechet_distance(a, b) == pytest.approx(textbook(a, b), rel=1e-6)


def test_the_distance_of_two_lines_of_numbers_is_known():
    a, b = np.array([[1.0], [3.0]]), np.array([[10.0], [18.0]])  # means 2 and 14, deviations sqrt 2 and sqrt 32
    assert frechet_distance(a, b) == pytest.approx(12**2 + (math.sqrt(32) - math.sqrt(2)) ** 2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_a_single_picture_has_no_distance():
    with pytest.raises(ValueError, match="at least 2"):
        frechet_distance(np.zeros((1, 4)), np.zeros((5, 4)))


def row(task, name, truth=True):
    return Row(task=task, subset=task, name=name, scores={"psnr": 1.0} if truth else {})


def flat(value):
    return np.full((4, 4, 3), value, np.uint8)


def test_sets_are_of_tasks_and_of_all_pairs_and_a_tool_may_join_later(tmp_path):
    store = FeatureStore(tmp_path, lambda picture: np.array([picture.mean()], np.float32))
    rows = [row("denoise", "a"), row("denoise", "b"), row("rain", "a"), row("snow", "c", truth=False)]
    for one, value in zip(rows, (10, 20, 30, 40), strict=True):
        truth = {"truth": flat(value)} if one.scores else {}
        store.keep(one, {"input": flat(value + 7), "auto": flat(value), **truth})
    store.keep(rows[0], {"tool": flat(0), "truth": flat(10)})
    found = store.distances(rows)
    assert [*found] == ["denoise", "all pairs"]  # rain has one picture, and no spread
    assert found["denoise"] == {"input": pytest.approx(49), "auto": pytest.approx(0, abs=1e-9)}  # one picture of tool's
    assert found["all pairs"]["input"] == pytest.approx(49)
    store.keep(rows[1], {"tool": flat(10), "truth": flat(20)})
    assert store.distances(rows)["denoise"]["tool"] == pytest.approx(100)


def test_clean_photographs_are_in_no_set(tmp_path):
    store = FeatureStore(tmp_path, lambda picture: np.array([picture.mean()], np.float32))
    one = row("clean", "denoise/a.png")
    store.keep(one, {"auto": flat(1), "truth": flat(1)})
    assert store.distances([one]) == {}
