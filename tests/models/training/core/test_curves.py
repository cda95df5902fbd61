"""Curves of a run: every validation is a point of its line, in order, and labels do not overlap."""

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from models.errors import TrainingError
from models.training.core.curves import HIGH, WIDE, draw_curves, read_curves

SVG = "{http://www.w3.org/2000/svg}"


def write(folder, rows):
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def run(tmp_path):
    gains = [(0.0, 1.0), (2.0, 1.0), (4.0, 1.1)]
    return write(
        tmp_path / "rain & fog",
        [
            {"step": 10 * i, "minutes": 5.0 * (i + 1), "loss": 1.0, "score": 1.0, "rain": a, "snow": b, "clean": 41.0}
            for i, (a, b) in enumerate(gains)
        ],
    )


def test_each_line_has_one_point_per_validation_and_rises_with_the_gain(run):
    root = ET.fromstring(draw_curves([read_curves(run)]))
    lines = [line.get("points").split() for line in root.iter(SVG + "polyline")]
    assert [len(line) for line in lines] == [3, 3]
    rain = [tuple(map(float, point.split(","))) for point in lines[0]]
    assert [x for x, _ in rain] == sorted(x for x, _ in rain)
    assert [y for _, y in rain] == sorted((y for _, y in rain), reverse=True), "up means a smaller y"
    assert all(0 <= x <= WIDE and 0 <= y <= HIGH for x, y in rain)


def test_lines_have_names_and_values_of_other_scales_have_no_line(run):
    text = draw_curves([read_curves(run)])
    assert "rain &amp; fog" in text and ">snow<" in text and ">clean<" not in text and "15 min" in text


def test_runs_are_side_by_side(run):
    root = ET.fromstring(draw_curves([read_curves(run)] * 3))
    shifts = [group.get("transform") for group in root.iter(SVG + "g")]
    assert [float(re.search(r"\d+", shift)[0]) for shift in shifts] == [0, WIDE, 2 * WIDE]


def test_labels_do_not_overlap(tmp_path):
    rows = [{"step": 1, "minutes": m, "loss": 0, "score": 0, **dict.fromkeys("abcde", 1.0)} for m in (1.0, 2.0)]
    root = ET.fromstring(draw_curves([read_curves(write(tmp_path / "same", rows))]))
    heights = sorted(float(label.get("y")) for label in root.iter(SVG + "text") if label.text in set("abcde"))
    assert min(b - a for a, b in pairwise(heights)) >= 11


def test_a_folder_without_a_log_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match=r"log\.jsonl"):
        read_curves(tmp_path)
    with pytest.raises(TrainingError, match="not been validated"):
        read_curves(write(tmp_path / "empty", []))
