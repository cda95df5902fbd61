"""The HTML report and its pictures, parsed with an independent HTML parser and image library."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from models.evaluation.album import Album, worst_rows
from models.evaluation.html_report import html_report
from models.evaluation.measurements import Conditions, Restoration, Row
from models.evaluation.report import Report, make_header
from models.evaluation.summary import summarize

CONDITIONS = Conditions(bundle="fake", version="0.1", fingerprint="ab" * 32, device="cpu", crop_px=512, seed=0)
VOID = {"meta", "img", "br"}


def row(name, gain, task="denoise", expected="noise", sure=0.6, told=True):
    found = {"noise": sure, "clean": 1 - sure}
    scored = gain is not None
    run = Restoration(
        scores={"psnr": 20.0 + gain, "ssim": 0.5} if scored else {}, found=found, stop_reason="clean", seconds=1.0
    )
    runs = {"auto": run, "told": run} if told else {"auto": run}
    return Row(
        task=task,
        subset="Nam",
        name=name,
        expected=expected,
        scores={"psnr": 20.0, "ssim": 0.5} if scored else {},
        runs=runs,
    )


def pictures(value=90, side=24, names=("input", "auto", "told", "truth")):
    return {name: np.full((side, side, 3), value, np.uint8) for name in names}


class Parsed(HTMLParser):
    """Collects tags, table cells, pictures and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells, self.images, self.text = [], [], [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "td":
            self.cells.append("")
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells[-1] += data
        if self.open and self.open[-1] != "style":
            self.text += data


def shown(rows, folder, notes=()):
    report = Report(
        head=make_header(CONDITIONS, "undegrade evaluate <DIR>"), summary=summarize(rows), notes=notes, rows=rows
    )
    text = html_report(report, Album(folder))
    return text, Parsed(text)


def test_the_worst_rows_have_the_lowest_psnr_gain():
    rows = [row(f"{gain}.png", gain) for gain in (3, -2, 0, 5, -7, 1, 4)]
    assert [entry.name for entry in worst_rows(rows)["denoise"]] == ["-7.png", "-2.png", "0.png", "1.png", "3.png"]


def test_without_ground_truth_the_worst_rows_have_the_lowest_probability_of_the_expected_label():
    rows = [row(f"{sure}", None, "snow", sure=sure) for sure in (0.5, 0.1, 0.9)]
    assert [entry.name for entry in worst_rows(rows)["snow"]] == ["0.1", "0.5", "0.9"]


def test_clean_photos_come_last_and_only_if_they_changed():
    def clean(name, psnr):
        entry = row(name, 0, "clean", "clean")
        changed = entry.runs["auto"].model_copy(update={"scores": {"psnr": psnr, "ssim": 1.0}})
        return entry.model_copy(update={"scores": {"psnr": math.inf, "ssim": 1.0}, "runs": {"auto": changed}})

    found = worst_rows([clean("same", math.inf), clean("other", 40.0), row("a", 1)])
    assert [(task, [entry.name for entry in rows]) for task, rows in found.items()] == [
        ("denoise", ["a"]),
        ("clean", ["other"]),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_album_keeps_the_worst_rows_in_any_order_of_arrival(tmp_path, seed):
    rows = [
        row(f"d/{index}.png", float(gain)) for index, gain in enumerate(np.random.default_rng(seed).normal(size=12))
    ]
    album = Album(tmp_path)
    for count, one in enumerate(rows, start=1):
        album.keep(one, pictures(count), rows[:count])
    final = worst_rows(rows)["denoise"]
    assert sorted(path.name for path in (tmp_path / "denoise").iterdir()) == sorted(
        one.name.replace("/", "_") for one in final
    )
    for one in final:
        kept = album.pictures(one)
        assert [*kept] == ["input", "auto", "told", "truth"]
        value = np.asarray(Image.open(io.BytesIO(kept["auto"]))).mean()
        assert value == pytest.approx(rows.index(one) + 1, abs=2)  # pictures of this row, not of another


def test_the_picture_of_a_tool_added_later_is_added_to_the_album(tmp_path):
    album, one = Album(tmp_path), row("a.png", 1)
    album.keep(one, pictures(), [one])
    joined = one.model_copy(update={"runs": {**one.runs, "v2.1": Restoration(scores={"psnr": 1.0}, seconds=1)}})
    album.keep(joined, pictures(names=("input", "v2.1", "truth")), [joined])
    assert [*album.pictures(joined)] == ["input", "auto", "told", "v2.1", "truth"]


def test_the_html_report_needs_no_other_files(tmp_path):
    one = row("a.png", 1)
    Album(tmp_path).keep(one, pictures(90), [one])
    text, parsed = shown([one], tmp_path)
    assert [image["alt"] for image in parsed.images] == [f"a.png: {name}" for name in pictures()]
    for image in parsed.images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/webp;base64"
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).mean() == pytest.approx(90, abs=2)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    assert not re.search(r"https?:|@import|url\(", text)


def test_only_large_pictures_are_reduced(tmp_path):
    album, large, small = Album(tmp_path), row("large.png", 1), row("small.png", 2)
    album.keep(large, pictures(side=900), [large])
    album.keep(small, pictures(side=24), [large, small])
    sizes = [Image.open(io.BytesIO(album.pictures(one)["input"])).size for one in (large, small)]
    assert sizes == [(640, 640), (24, 24)]


def test_tables_show_the_numbers_and_the_confusion_matrix_is_shaded_by_share(tmp_path):
    rows = [row("a", 1.5), row("b", 2.5), row("c", 0.0, sure=0.1), row("d", 0.0, sure=0.1)]
    _, parsed = shown(rows, tmp_path)
    assert "21.00 (+1.00) / 0.500" in parsed.cells
    shades = [attrs["style"] for tag, attrs in parsed.tags if tag == "td" and "style" in attrs]
    assert shades == ["background: rgb(var(--wrong) / 0.30)", "background: rgb(var(--correct) / 0.30)"]
    assert "50%" in parsed.cells


def test_html_in_file_names_and_errors_is_escaped(tmp_path):
    evil = '<script>alert("1")</script>&amp;.png'
    failed = Row(task="denoise", subset="Nam", name=evil, error=f"PhotoError: {evil}")
    text, parsed = shown([row(evil, 1), failed], tmp_path, notes=(f"note {evil}",))
    assert "<script" not in text
    assert parsed.text.count(evil) >= 3
    assert "undegrade evaluate <DIR>" in parsed.text


def test_a_row_without_stored_pictures_says_so(tmp_path):
    _, parsed = shown([row("a.png", 1)], tmp_path)
    assert "no pictures stored" in parsed.text
