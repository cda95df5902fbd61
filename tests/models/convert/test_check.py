"""`undegrade models check`: a row for each group of tensors, and a perturbed tensor is found."""

import math
import re
import shutil

import pytest
import torch

from models.convert.autodir.check import check_autodir
from models.convert.verdicts import Row, compare_pairs
from models.errors import BundleError, ControlsError

FILES = ("scm", "unet", "vae", "clip", "sampler", "pipeline_auto", "pipeline_user")


@pytest.fixture
def some(shared, tmp_path):
    """A folder with some of the vectors."""

    def copy(*names):
        folder = tmp_path / "vectors"
        folder.mkdir()
        for name in names:
            shutil.copy(shared / "parity" / "autodir" / f"{name}.safetensors", folder)
        return folder

    return copy


def verdicts(text):
    """group -> verdict, of a printed table."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return {cells[0]: cells[-1] for cells in rows}


def test_the_random_checkpoint_passes_and_absent_files_are_named(checkpoint_file, some, undegrade):
    done = undegrade("models", "check", "autodir", checkpoint_file, some("scm", "unet", "vae", "clip"))
    assert done.exit_code == 0, done.output
    found = verdicts(done.stdout)
    assert {"scm a.result", "scm odd.result", "unet int.eps", "unet frac.eps", "vae mode", "vae decoded"} <= set(found)
    assert {"clip text_hidden", "clip null_hidden_nomask", "clip odd.probs", "clip small.e_auto"} <= set(found)
    assert set(found.values()) == {"ok"}
    assert set(re.findall(r"(\w+)\.safetensors is not there", done.stderr)) == {
        "sampler", "pipeline_auto", "pipeline_user"
    }  # fmt: skip


@pytest.mark.slow
def test_all_vectors_are_reproduced(checkpoint_file, shared, undegrade):
    done = undegrade("models", "check", "autodir", checkpoint_file, shared / "parity" / "autodir")
    assert done.exit_code == 0, done.output
    found = verdicts(done.stdout)
    assert {group.split()[0] for group in found} == set(FILES)
    assert {"pipeline_auto labels", "pipeline_auto I_sd", "pipeline_user I_res", "pipeline_auto saved bytes"} <= set(
        found
    )
    assert sum(re.fullmatch(r"sampler cfg.*trajectory", group) is not None for group in found) == 3


def test_a_perturbed_tensor_is_found_and_its_group_named(state, some, save_checkpoint, undegrade):
    key = "NAFNet.middle_blks.0.conv1.weight"
    perturbed = save_checkpoint({"state_dict": {**state, key: state[key] * 1.01}})
    done = undegrade("models", "check", "autodir", perturbed, some("scm", "vae"))
    assert done.exit_code == 1
    found = verdicts(done.stdout)
    assert (found["scm a.result"], found["scm odd.result"]) == ("MISSED", "MISSED")
    assert (found["vae mode"], found["vae decoded"]) == ("ok", "ok")
    assert "missed: scm a.result, scm odd.result" in done.stderr


def test_a_folder_without_vectors_is_an_error_before_anything_is_converted(tmp_path, undegrade):
    done = undegrade("models", "check", "autodir", tmp_path / "no.ckpt", tmp_path)
    assert done.exit_code == 2 and "no vectors to compare with" in done.stderr


def test_a_damaged_vector_file_is_named(checkpoint_file, tmp_path):
    (tmp_path / "scm.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(BundleError, match=r"cannot read .*scm.safetensors"):
        list(check_autodir(checkpoint_file, tmp_path))


def test_an_empty_folder_is_refused_with_the_expected_names(tmp_path):
    with pytest.raises(ControlsError, match="pipeline_user"):
        list(check_autodir(tmp_path / "no.ckpt", tmp_path))


def test_a_row_holds_the_largest_difference_of_its_pairs():
    pairs = [(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0])), (torch.tensor([10.0]), torch.tensor([10.25]))]
    found = compare_pairs("g", 0.3, pairs)
    assert (found.absolute, found.relative, found.ok) == (0.5, 0.25, False)
    assert compare_pairs("g", 0.3, pairs, "of range").ok


@pytest.mark.parametrize("measure", ["absolute", "of range", "differ"])
def test_nan_misses_the_tolerance(measure):
    fine = (torch.zeros(1), torch.zeros(1))
    found = compare_pairs("g", 1.0, [fine, (torch.tensor([math.nan]), torch.ones(1)), fine], measure)
    assert not found.ok and found.verdict == "MISSED"
    assert not Row(group="g", absolute=math.inf, relative=math.inf, tolerance=1.0, measure=measure).ok
