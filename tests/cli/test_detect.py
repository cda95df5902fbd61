"""`undegrade detect` prints probabilities as JSON or as a table, and changes no file."""

import json
import os
from pathlib import Path

import pytest


def test_detect_prints_probabilities_that_sum_to_one_and_changes_no_file(with_bundle, photo):
    photo("in/a.png")
    photo("in/b.jpg")
    result = with_bundle("detect", "in", "--json")
    rows = [json.loads(line) for line in result.text.splitlines()]
    assert (result.code, [row["input"] for row in rows]) == (0, ["in/a.png", "in/b.jpg"])
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert list(row["probabilities"]) == sorted(row["probabilities"], key=lambda name: -row["probabilities"][name])
    assert sorted(os.listdir("in")) == ["a.png", "b.jpg"]


def test_detect_prints_a_table_and_reports_files_that_are_not_photos(with_bundle, photo):
    Path("bad[b].png").write_bytes(b"no")
    result = with_bundle("detect", photo("[red]a.png"), "bad[b].png", "gone.png")
    assert result.code == 1
    assert "[red]a.png" in result.text
    assert "bad[b].png is not an image" in result.err
    assert "gone.png does not exist" in result.err
    alone = with_bundle("detect", "-", stdin=Path("[red]a.png").read_bytes())
    assert "stdin" in alone.text
