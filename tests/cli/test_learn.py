"""`undegrade learn` on the command line: what it refuses, with which exit code, before it computes."""

import numpy as np
import pytest
from PIL import Image


def write_pairs(folder, count):
    rng = np.random.default_rng(0)
    for index in range(count):
        for part in ("lq", "gt"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / part / f"{index}.png")
    return folder


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--name", "Old Photo"), 2, "a plain word"),
        (("--name", "fog"), 2, "already"),
        (("--name", "dust", "--start", "nothing"), 2, "expected one of detail, weather, light, scratch"),
        (("--name", "dust", "--minutes", "nan"), 2, "minutes"),
        (("--name", "dust", "--bundle", "daclip-small"), 2, "Only autodir bundles"),
        (("--name", "dust"), 2, "do not show the same picture"),
        (("--name", "dust", "--no-check"), 2, "has 3 pairs, expected at least 4"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_run_that_cannot_succeed_ends_at_once(undegrade, tmp_path, words, code, message):
    done = undegrade("learn", write_pairs(tmp_path / "own", 3), "--out", tmp_path / "out", *words)
    assert (done.code, message in done.err) == (code, True), done.err
    assert not (tmp_path / "out").exists()
