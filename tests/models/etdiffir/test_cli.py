"""ETDiffIR on the command line: convert, check, restore."""

from PIL import Image


def test_every_group_of_vectors_is_within_tolerance(undegrade, erunet_file, daclip_vectors):
    done = undegrade("models", "check", "erunet", erunet_file, daclip_vectors)
    assert done.exit_code == 0, done.output
    assert "9 of 9 groups within tolerance" in done.output


def test_the_license_terms_must_be_accepted(undegrade, checkpoint_files, tmp_path):
    done = undegrade("models", "convert", "etdiffir", *checkpoint_files, "--out", tmp_path / "et")
    assert done.exit_code != 0
    assert "without a license" in " ".join(done.output.split())
    assert not (tmp_path / "et").exists()


def test_a_converted_pair_restores_a_photo_with_a_caption(undegrade, checkpoint_files, tmp_path):
    out = tmp_path / "et"
    options = ("--out", out, "--accept-license", "--dtype", "float32")
    done = undegrade("models", "convert", "etdiffir", *checkpoint_files, *options)
    assert done.exit_code == 0, done.output
    Image.linear_gradient("L").resize((48, 32)).convert("RGB").save(tmp_path / "photo.png")
    options = ("--bundle", out, "--steps", 2, "-o", tmp_path / "restored.png", "--prompt", "a gray ramp")
    done = undegrade("restore", tmp_path / "photo.png", *options)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "restored.png") as restored:
        assert restored.size == (48, 32)
