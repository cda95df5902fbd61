"""`undegrade models pull`: a bundle or a checkpoint from a real HTTP server."""

import io
import json
import os
import shutil
import subprocess
import sys

import pytest

TOKENS = "model_assessment.clipmodel.text_model.embeddings.token_embedding.weight"


def test_a_bundle_is_downloaded_listed_and_found_by_its_name(
    undegrade, file_server, stocked, bundle_source, home, photo
):
    assert "tiny" in undegrade("models", "pull", "--list").text
    result = undegrade("models", "pull", "tiny", "--accept-license")
    assert result.code == 0, result.err
    assert "License: MIT" in result.err
    for path in bundle_source.iterdir():
        assert (home / "tiny" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path for path, *_ in file_server.requests) == sorted(file_server.files)
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert "tiny" in undegrade("models", "list").text
    assert undegrade("models", "verify", "tiny").code == 0
    assert undegrade("restore", photo("a.png"), "--bundle", "tiny", "--max-passes", 1, "--device", "cpu").code == 0


def test_an_installed_bundle_is_downloaded_again_only_with_force(undegrade, file_server, stocked, home):
    undegrade("models", "pull", "tiny", "--accept-license")
    asked = len(file_server.requests)
    again = undegrade("models", "pull", "tiny")
    assert (again.code, len(file_server.requests)) == (0, asked)
    assert "is already installed" in again.err
    (home / "tiny" / "scm.safetensors").write_bytes(b"damaged")
    assert undegrade("models", "pull", "tiny", "--force", "--accept-license").code == 0
    assert len(file_server.requests) == 2 * asked
    assert undegrade("models", "verify", "tiny").code == 0


def test_another_version_in_the_registry_is_reported(write_registry, undegrade, stocked, workplace):
    undegrade("models", "pull", "tiny", "--accept-license")
    newer = stocked["bundle.json"].model_copy(update={"sha256": "1" * 64})
    write_registry(workplace / "registry.toml", kind="bundle", files=[newer])
    result = undegrade("models", "pull", "tiny")
    assert (result.code, "the registry lists another version" in result.err) == (0, True)


def test_the_first_folder_of_undegrade_bundles_takes_the_bundle(undegrade, stocked, workplace, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_BUNDLES", f"{workplace / 'first'}{os.pathsep}{workplace / 'second'}")
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert (workplace / "first" / "tiny" / "bundle.json").is_file()


def test_nothing_is_requested_before_the_license_is_accepted(undegrade, file_server, stocked, home):
    result = undegrade("models", "pull", "tiny")
    assert result.code == 2
    assert "License: MIT" in result.err and "--accept-license" in result.err
    assert file_server.requests == [] and not (home / "tiny").exists()


def test_a_missing_file_on_the_server_is_named_and_leaves_no_bundle(undegrade, file_server, stocked, home):
    del file_server.files["/scm.safetensors"]
    result = undegrade("models", "pull", "tiny", "--accept-license")
    assert result.code == 5
    assert "/scm.safetensors answered 404 Not Found" in result.err
    assert not (home / "tiny").exists()
    assert "tiny" not in undegrade("models", "list").text


def test_received_files_are_not_downloaded_twice(undegrade, file_server, stocked, bundle_source, home):
    del file_server.files["/scm.safetensors"]
    undegrade("models", "pull", "tiny", "--accept-license")
    file_server.add("scm.safetensors", (bundle_source / "scm.safetensors").read_bytes())
    file_server.requests.clear()
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert [path for path, *_ in file_server.requests] == ["/scm.safetensors"]


def test_a_file_with_another_hash_than_in_the_manifest_is_refused(undegrade, file_server, stocked, home):
    file_server.files["/scm.safetensors"] = file_server.files["/scm.safetensors"][::-1]
    result = undegrade("models", "pull", "tiny", "--accept-license")
    assert result.code == 3
    assert "sha256" in result.err and not (home / "tiny").exists()


@pytest.mark.parametrize("way", ["option", "setting"])
def test_offline_requests_nothing_and_lists_the_missing_files(
    undegrade, file_server, stocked, bundle_source, home, monkeypatch, way
):
    if way == "setting":
        monkeypatch.setenv("UNDEGRADE_OFFLINE", "1")
    words = ("models", "pull", "tiny", "--accept-license", *(["--offline"] if way == "option" else []))
    result = undegrade(*words)
    assert result.code == 3
    place = home / ".downloads" / "tiny"
    assert f"bundle.json ({stocked['bundle.json'].bytes} bytes)" in result.err and str(place) in result.err
    shutil.copytree(bundle_source, place, dirs_exist_ok=True)
    assert undegrade(*words).code == 0
    assert undegrade("models", "verify", "tiny").code == 0
    assert file_server.requests == []


def test_offline_refuses_a_file_with_the_wrong_hash(undegrade, stocked, bundle_source, home):
    shutil.copytree(bundle_source, home / ".downloads" / "tiny")
    (home / ".downloads" / "tiny" / "bundle.json").write_text("{}")
    result = undegrade("models", "pull", "tiny", "--accept-license", "--offline")
    assert (result.code, "bundle.json has sha256" in result.err) == (3, True)


def test_a_disk_that_is_too_small_is_reported_before_any_request(
    write_registry, undegrade, file_server, stocked, workplace
):
    large = stocked["bundle.json"].model_copy(update={"bytes": 10**16})
    write_registry(workplace / "registry.toml", kind="bundle", files=[large])
    result = undegrade("models", "pull", "tiny", "--accept-license")
    assert (result.code, "GB free, expected 10000000.00" in result.err) == (3, True)
    assert file_server.requests == []


def test_secrets_in_a_url_are_neither_printed_nor_stored(
    write_registry, undegrade, file_server, stocked, home, workplace
):
    file = stocked["bundle.json"]
    signed = file.model_copy(update={"url": file.url.replace("127", "user:pass@127") + "?signature=xyzzy"})
    write_registry(workplace / "registry.toml", kind="bundle", files=[signed])
    result = undegrade("models", "pull", "tiny", "--accept-license")
    assert result.code == 0, result.err
    for text in (result.err, (home / "tiny" / "pulled.json").read_text()):
        assert file.url in text and "xyzzy" not in text and "user:pass" not in text


def test_an_unusable_proxy_is_reported(undegrade, stocked, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy")
    result = undegrade("models", "pull", "tiny", "--accept-license")
    assert (result.code, "the proxy of the environment" in result.err) == (5, True)


def test_listing_and_refusing_do_not_load_torch(stocked):
    script = (
        "import sys\nfrom cli.main import app\n"
        "for words in (['--list'], ['tiny'], ['tiny', '--accept-license', '--offline']):\n"
        "    app(['models', 'pull', *words], standalone_mode=False)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "AssertionError" in done.stderr) == (0, False), done.stderr


def test_a_checkpoint_is_downloaded_and_converted(
    write_registry, undegrade, file_server, home, workplace, checkpoint, photo
):
    import torch

    state = {key: value[:100].clone() if key == TOKENS else value for key, value in checkpoint("").items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "global_step": 0}, buffer)
    file = file_server.add("autodir.ckpt", buffer.getvalue())
    path = write_registry(
        workplace / "own.toml", "own", kind="checkpoint", family="autodir", dtype="float32", files=[file]
    )
    words = ("models", "pull", "own", "--registry", path)
    refused = undegrade(*words)
    assert (refused.code, "OpenRAIL" in refused.err) == (2, True)
    result = undegrade(*words, "--accept-license")
    assert result.code == 0, result.err
    manifest = json.loads((home / "own" / "bundle.json").read_text())
    assert manifest["name"] == "own" and file.sha256 in manifest["description"]
    assert undegrade("models", "verify", "own").code == 0
    assert not list(home.rglob("autodir.ckpt"))


@pytest.mark.slow
def test_two_checkpoints_of_different_widths_make_no_bundle(
    write_registry, undegrade, file_server, home, workplace, shared
):
    """Both files reach the converter, which finds that their widths differ."""
    files = []
    for which, name in (("daclip", "clip.pt"), ("unet", "unet.pth")):
        words = [sys.executable, shared / "parity" / "weights.py", which, workplace / name]
        subprocess.run(words, check=True, timeout=120)
        files.append(file_server.add(name, (workplace / name).read_bytes()))
    path = write_registry(workplace / "own.toml", kind="checkpoint", family="daclip", files=files)
    result = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (result.code, "do not fit together" in result.err) == (3, True), result.err
    assert not (home / "tiny").exists()
    again = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (again.code, len(file_server.requests)) == (3, 2)  # no file is downloaded twice


def test_an_unknown_family_is_refused_before_any_request(write_registry, undegrade, file_server, home, workplace):
    path = write_registry(
        workplace / "own.toml", kind="checkpoint", family="gan", files=[file_server.add("a.pt", b"x")]
    )
    result = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (result.code, "family 'gan', expected one of autodir" in result.err, file_server.requests) == (2, True, [])
