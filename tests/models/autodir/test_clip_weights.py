"""A branch of the assessor that refers to a specialist computes what a copy of it would, without its memory."""

import pytest
import torch
from tower_bundle import tower_bundle

from models.autodir.clip_weights import branch_parts, own_tensors
from models.bundle import read_manifest, write_bundle
from models.device import Speed
from models.errors import BundleError
from models.families import load_restorer, memory_needed

CPU = torch.device("cpu")
PART, PREFIX = "specialist-detail", "visual.branches.0."


def referring(part=PART):
    """The tiny bundle, whose branch 0 refers to a part of the bundle."""
    manifest, networks = tower_bundle()
    clip = manifest.networks["clip"]
    stated = {**manifest.networks, "clip": {**clip, "tower": {**clip["tower"], "parts": [part, ""]}}}
    networks["clip"] = own_tensors(stated, networks["clip"])
    return manifest.model_copy(update={"networks": stated}), networks


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Folders of the same bundle with copies, and with a reference."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, (manifest, networks) in {"copies": tower_bundle(), "refers": referring()}.items():
        write_bundle(folder / name, manifest, networks)
    return folder / "copies", folder / "refers"


@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_both_bundles_assess_alike_and_the_smaller_one_lacks_the_copy(bundles, weights):
    copies, refers = (load_restorer(bundle, CPU, Speed(weights=weights)) for bundle in bundles)
    pictures = [torch.rand(3, 70, 90) * 2 - 1 for _ in range(3)]
    for one, other in zip(copies.assessor.assess(pictures), refers.assessor.assess(pictures), strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    branch = refers.assessor.clip.get_submodule("visual.branches.0")
    assert {value.dtype for value in branch.parameters()} == {torch.float32}
    sizes = [sum(file.bytes for file in read_manifest(bundle).files.values()) for bundle in bundles]
    values = sum(value.numel() for value in branch.parameters())
    assert sizes[1] == pytest.approx(sizes[0] - 2 * values, abs=5000)  # the rest are headers


@pytest.mark.parametrize(("weights", "shared"), [("float32", True), ("float16", False)])
def test_the_memory_is_shared_only_where_the_specialist_computes_in_float32(bundles, weights, shared):
    model = load_restorer(bundles[1], CPU, Speed(weights=weights))
    branch = dict(model.assessor.clip.get_submodule("visual.branches.0").named_parameters())
    own = dict(model.specialists.networks["detail"].named_parameters())
    assert {branch[name].data_ptr() == own[name].data_ptr() for name in own} == {shared}
    networks = (model.assessor.clip, model.air, model.scm, *model.specialists.networks.values())
    tensors = [value for network in networks for value in network.state_dict().values()]
    distinct = {value.data_ptr(): value.nbytes for value in tensors}
    assert memory_needed(bundles[1], Speed(weights=weights)).resident_bytes == sum(distinct.values())


def test_a_specialist_in_another_precision_leaves_the_assessor_as_it_is(bundles):
    model = load_restorer(bundles[1], CPU, Speed(weights="float32"))
    before = model.assessor.assess([torch.full((3, 64, 64), 0.1)])
    model.specialists.networks["detail"].half()
    assert model.assessor.assess([torch.full((3, 64, 64), 0.1)]) == before


@pytest.mark.parametrize(
    ("part", "message"),
    [("specialist-gone", "no weights for 'specialist-gone'"), ("specialist-weather", "does not fit")],
)
def test_a_branch_that_refers_to_no_part_or_another_network_is_named(tmp_path, part, message):
    manifest, networks = referring(part)
    write_bundle(tmp_path / "b", manifest, networks)
    with pytest.raises(BundleError, match=message):
        load_restorer(tmp_path / "b", CPU)


def test_manifests_without_references_have_none():
    manifest, networks = tower_bundle()
    assert branch_parts(manifest.networks) == {}
    assert own_tensors(manifest.networks, networks["clip"]).keys() == networks["clip"].keys()
    assert branch_parts({"clip": {"tower": None}}) == branch_parts({}) == {}
    assert branch_parts(referring()[0].networks) == {PREFIX: PART}
