"""The command: convert, check, restore."""

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app


@pytest.fixture
def undegrade():
    from models.convert.commands import CONVERTERS

    if "etdiffir" not in CONVERTERS:
        pytest.skip("the family is not in models.convert.commands yet")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_check_says_ok_for_every_group(undegrade, erunet_file, vectors):
    done = undegrade("models", "check", "erunet", erunet_file, vectors)
    assert done.exit_code == 0, done.output
    assert "9 of 9 groups within tolerance" in done.output


def test_the_terms_want_a_word(undegrade, pair, tmp_path):
    done = undegrade("models", "convert", "etdiffir", *pair, "--out", tmp_path / "et")
    assert done.exit_code != 0
    assert "without a license" in " ".join(done.output.split())
    assert not (tmp_path / "et").exists()


def test_a_converted_pair_restores_a_photo_with_a_caption(undegrade, pair, tmp_path):
    out = tmp_path / "et"
    done = undegrade("models", "convert", "etdiffir", *pair, "--out", out, "--accept-license", "--dtype", "float32")
    assert done.exit_code == 0, done.output
    Image.linear_gradient("L").resize((48, 32)).convert("RGB").save(tmp_path / "photo.png")
    options = ("--bundle", out, "--steps", 2, "-o", tmp_path / "restored.png", "--prompt", "a gray ramp")
    done = undegrade("restore", tmp_path / "photo.png", *options)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "restored.png") as restored:
        assert restored.size == (48, 32)
