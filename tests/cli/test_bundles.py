"""`undegrade models list|show|verify`."""

import json
import os
import shutil


def test_bundles_are_listed_and_shown(with_bundle):
    listed = with_bundle("models", "list")
    assert listed.code == 0
    assert "autodir-small" in listed.text
    assert "noise, haze, rain" in listed.text
    shown = json.loads(with_bundle("models", "show", "autodir-small").text)
    assert shown["family"] == "autodir"
    assert [entry["name"] for entry in shown["degradations"]] == ["noise", "haze", "rain", "clean"]


def test_verify_names_the_file_with_a_flipped_byte(with_bundle, bundles, workplace):
    assert with_bundle("models", "verify").code == 0
    copy = shutil.copytree(bundles / "autodir-small", workplace / "copy")
    weights = bytearray((copy / "scm.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "scm.safetensors").write_bytes(weights)
    result = with_bundle("models", "verify", copy)
    assert result.code == 3
    assert "scm.safetensors" in result.err
    (copy / "bundle.json").write_text("{")
    assert with_bundle("models", "verify", copy).code == 3


def test_a_damaged_manifest_does_not_hide_the_other_bundles(undegrade, bundles, workplace, monkeypatch):
    (workplace / "more" / "broken").mkdir(parents=True)
    (workplace / "more" / "broken" / "bundle.json").write_text("{")
    monkeypatch.setenv("UNDEGRADE_BUNDLES", f"{workplace / 'more'}{os.pathsep}{bundles}")
    result = undegrade("models", "list")
    assert result.code == 3
    assert "autodir-small" in result.text
    assert "broken" in result.err
