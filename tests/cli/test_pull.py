"""`models pull` and `rm`: a bundle, an archive or a checkpoint from a real HTTP server."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from cli.download import Patience
from models.registry import SHIPPED_REGISTRY, RemoteFile, read_registry

COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
AT_ONCE = Patience(tries=4, first_s=0.0)
TOKENS = "model_assessment.clipmodel.text_model.embeddings.token_embedding.weight"


@pytest.fixture
def home(workplace, monkeypatch):
    """The folder that fetched bundles go to."""
    monkeypatch.setenv("XDG_DATA_HOME", str(workplace / "data"))
    return workplace / "data" / "undegrade" / "bundles"


def registry_of(path, name="tiny", **entry):
    """Write a registry with one entry; values are the same in TOML and JSON."""
    files = [file.model_dump() for file in entry.pop("files")]
    lines = ["format = 1", f"[models.{name}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in {"description": "", "license": "MIT", **entry}.items()]
    for file in files:
        lines += [f"[[models.{name}.files]]", *(f"{key} = {json.dumps(value)}" for key, value in file.items())]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def source(bundles):
    return bundles / "autodir-small"


@pytest.fixture
def stocked(shop, source, home, workplace, monkeypatch):
    """The server has a bundle, and a registry that lists its manifest is in the environment."""
    files = {path.name: shop.add(path.name, path.read_bytes()) for path in sorted(source.iterdir())}
    monkeypatch.setenv("UNDEGRADE_REGISTRY", str(workplace / "registry.toml"))
    registry_of(workplace / "registry.toml", kind="bundle", files=[files["bundle.json"]])
    return files


def test_a_bundle_is_fetched_listed_and_found_by_its_name(undegrade, shop, stocked, source, home, photo):
    assert "tiny" in undegrade("models", "pull", "--list").text
    done = undegrade("models", "pull", "tiny", "--accept-license")
    assert done.code == 0, done.err
    assert "License: MIT" in done.err
    for path in source.iterdir():
        assert (home / "tiny" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path for path, *_ in shop.asked) == sorted(shop.files)
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert "tiny" in undegrade("models", "list").text
    assert undegrade("models", "verify", "tiny").code == 0
    assert undegrade("restore", photo("a.png"), "--bundle", "tiny", "--max-passes", 1, "--device", "cpu").code == 0


def test_what_is_here_is_not_fetched_again_unless_forced(undegrade, shop, stocked, home):
    undegrade("models", "pull", "tiny", "--accept-license")
    asked = len(shop.asked)
    again = undegrade("models", "pull", "tiny")
    assert (again.code, len(shop.asked)) == (0, asked)
    assert "is here already" in again.err
    (home / "tiny" / "scm.safetensors").write_bytes(b"damaged")
    assert undegrade("models", "pull", "tiny", "--force", "--accept-license").code == 0
    assert len(shop.asked) == 2 * asked
    assert undegrade("models", "verify", "tiny").code == 0


def test_a_new_version_in_the_registry_is_named(undegrade, stocked, workplace):
    undegrade("models", "pull", "tiny", "--accept-license")
    newer = stocked["bundle.json"].model_copy(update={"sha256": "1" * 64})
    registry_of(workplace / "registry.toml", kind="bundle", files=[newer])
    done = undegrade("models", "pull", "tiny")
    assert (done.code, "the registry has another one" in done.err) == (0, True)


def test_a_bundle_that_was_put_there_otherwise_is_neither_replaced_nor_removed(undegrade, shop, stocked, source, home):
    shutil.copytree(source, home / "tiny")
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert undegrade("models", "pull", "tiny", "--force", "--accept-license").code == 2
    assert undegrade("models", "rm", "tiny").code == 3
    assert (home / "tiny" / "bundle.json").is_file()
    assert shop.asked == []


def test_the_first_folder_of_the_environment_takes_it(undegrade, stocked, workplace, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_BUNDLES", f"{workplace / 'first'}{os.pathsep}{workplace / 'second'}")
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert (workplace / "first" / "tiny" / "bundle.json").is_file()


def test_without_the_license_accepted_nothing_is_asked_for(undegrade, shop, stocked, home):
    done = undegrade("models", "pull", "tiny")
    assert done.code == 2
    assert "License: MIT" in done.err and "--accept-license" in done.err
    assert shop.asked == [] and not (home / "tiny").exists()


def test_a_refused_file_leaves_no_bundle_and_says_which(undegrade, shop, stocked, home):
    del shop.files["/scm.safetensors"]
    done = undegrade("models", "pull", "tiny", "--accept-license")
    assert done.code == 5
    assert "/scm.safetensors answered 404 Not Found" in done.err
    assert not (home / "tiny").exists()
    assert "tiny" not in undegrade("models", "list").text


def test_what_has_arrived_is_not_fetched_twice(undegrade, shop, stocked, source, home):
    del shop.files["/scm.safetensors"]
    undegrade("models", "pull", "tiny", "--accept-license")
    shop.add("scm.safetensors", (source / "scm.safetensors").read_bytes())
    shop.asked.clear()
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert [path for path, *_ in shop.asked] == ["/scm.safetensors"]


def test_a_file_that_the_manifest_does_not_mean_is_found(undegrade, shop, stocked, home):
    shop.files["/scm.safetensors"] = shop.files["/scm.safetensors"][::-1]
    done = undegrade("models", "pull", "tiny", "--accept-license")
    assert done.code == 3
    assert "sha256" in done.err and not (home / "tiny").exists()


@pytest.mark.parametrize("way", ["option", "setting"])
def test_offline_asks_nobody_and_says_what_to_bring(undegrade, shop, stocked, source, home, monkeypatch, way):
    if way == "setting":
        monkeypatch.setenv("UNDEGRADE_OFFLINE", "1")
    words = ("models", "pull", "tiny", "--accept-license", *(["--offline"] if way == "option" else []))
    done = undegrade(*words)
    assert done.code == 3
    place = home / ".downloads" / "tiny"
    assert f"bundle.json ({stocked['bundle.json'].bytes} bytes)" in done.err and str(place) in done.err
    shutil.copytree(source, place, dirs_exist_ok=True)
    assert undegrade(*words).code == 0
    assert undegrade("models", "verify", "tiny").code == 0
    assert shop.asked == []


def test_offline_refuses_a_file_that_is_not_the_one(undegrade, stocked, source, home):
    shutil.copytree(source, home / ".downloads" / "tiny")
    (home / ".downloads" / "tiny" / "bundle.json").write_text("{}")
    done = undegrade("models", "pull", "tiny", "--accept-license", "--offline")
    assert (done.code, "bundle.json has sha256" in done.err) == (3, True)


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked_for(undegrade, shop, stocked, workplace):
    large = stocked["bundle.json"].model_copy(update={"bytes": 10**16})
    registry_of(workplace / "registry.toml", kind="bundle", files=[large])
    done = undegrade("models", "pull", "tiny", "--accept-license")
    assert (done.code, "GB free, expected 10000000.00" in done.err) == (3, True)
    assert shop.asked == []


def test_secrets_of_an_address_are_neither_shown_nor_kept(undegrade, shop, stocked, home, workplace):
    file = stocked["bundle.json"]
    signed = file.model_copy(update={"url": file.url.replace("127", "user:pass@127") + "?signature=xyzzy"})
    registry_of(workplace / "registry.toml", kind="bundle", files=[signed])
    done = undegrade("models", "pull", "tiny", "--accept-license")
    assert done.code == 0, done.err
    for text in (done.err, (home / "tiny" / "pulled.json").read_text()):
        assert file.url in text and "xyzzy" not in text and "user:pass" not in text


def test_a_proxy_that_cannot_be_used_is_named(undegrade, stocked, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy")
    done = undegrade("models", "pull", "tiny", "--accept-license")
    assert (done.code, "the proxy that the environment names" in done.err) == (5, True)


def test_looking_and_refusing_does_not_wait_for_torch(stocked):
    script = (
        "import sys\nfrom cli.main import app\n"
        "for words in (['--list'], ['tiny'], ['tiny', '--accept-license', '--offline']):\n"
        "    app(['models', 'pull', *words], standalone_mode=False)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "AssertionError" in done.stderr) == (0, False), done.stderr


# --- interrupted, and two at once


def start(*words):
    return subprocess.Popen(
        [*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )  # fmt: skip


def until(condition):
    until_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_download_leaves_no_bundle_and_is_taken_up(undegrade, shop, stocked, home, number):
    shop.gate = threading.Event()
    process = start("models", "pull", "tiny", "--accept-license")
    part = home / ".downloads" / "tiny" / "bundle.json.part"
    until(lambda: part.is_file() and part.stat().st_size)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err.decode()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert "tiny" not in undegrade("models", "list").text
    had = part.stat().st_size
    shop.gate.set()
    shop.asked.clear()
    assert undegrade("models", "pull", "tiny", "--accept-license").code == 0
    assert shop.asked[0] == ("/bundle.json", f"bytes={had}-", '"one"')
    assert undegrade("models", "verify", "tiny").code == 0


def test_two_at_once_fetch_it_once(undegrade, shop, stocked):
    shop.gate = threading.Event()
    first = start("models", "pull", "tiny", "--accept-license")
    until(lambda: shop.asked)
    second = start("models", "pull", "tiny", "--accept-license")
    assert b"another process is fetching tiny" in second.stderr.readline()
    held = undegrade("models", "rm", "tiny")
    assert (held.code, "is being fetched right now" in held.err) == (2, True)
    shop.gate.set()
    said = [process.communicate(timeout=60)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert b"is here already" in said[1]
    assert sorted(path for path, *_ in shop.asked) == sorted(shop.files)
    assert undegrade("models", "verify", "tiny").code == 0


# --- archives and checkpoints


def tar_of(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return buffer.getvalue()


@pytest.mark.parametrize("prefix", ["", "./", "some/where/"])
def test_an_archive_becomes_a_bundle(undegrade, shop, source, home, workplace, prefix):
    content = tar_of(*((prefix + path.name, path.read_bytes()) for path in source.iterdir()))
    path = registry_of(workplace / "own.toml", kind="archive", files=[shop.add("tiny.tar.gz", content)])
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert done.code == 0, done.err
    assert undegrade("models", "verify", "tiny").code == 0
    assert sorted(os.listdir(home / "tiny")) == sorted([*(path.name for path in source.iterdir()), "pulled.json"])


BAD_ARCHIVES = {
    "no tar": (b"hello" * 1000, "cannot be unpacked"),
    "cut": (lambda tar: tar[: len(tar) // 2], "cannot be unpacked"),
    "a link": (tar_of(("bundle.json", b"{}"), ("evil", None)), "holds evil"),
    "a way out": (tar_of(("bundle.json", b"{}"), ("../evil", b"x")), "holds ../evil"),
    "no manifest": (tar_of(("photo.jpg", b"x")), "holds no bundle.json"),
    "twice": (tar_of(("bundle.json", b"{}"), ("bundle.json", b"{}")), "cannot be unpacked"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_wrong_archive_gets_a_sentence_and_nothing_leaves_its_folder(undegrade, shop, home, workplace, kind):
    content, sentence = BAD_ARCHIVES[kind]
    if callable(content):
        content = content(tar_of(("bundle.json", os.urandom(10_000))))
    path = registry_of(workplace / "own.toml", kind="archive", files=[shop.add("tiny.tar", content)])
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (done.code, sentence in done.err, "Traceback" in done.err) == (3, True, False)
    assert not list(workplace.rglob("evil"))
    assert not (home / "tiny").exists()


def test_a_checkpoint_is_fetched_and_converted(undegrade, shop, home, workplace, checkpoint, photo):
    import torch

    state = {key: value[:100].clone() if key == TOKENS else value for key, value in checkpoint("").items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "global_step": 0}, buffer)
    file = shop.add("autodir.ckpt", buffer.getvalue())
    path = registry_of(
        workplace / "own.toml", "own", kind="checkpoint", family="autodir", dtype="float32", files=[file]
    )
    words = ("models", "pull", "own", "--registry", path)
    refused = undegrade(*words)
    assert (refused.code, "OpenRAIL" in refused.err) == (2, True)
    done = undegrade(*words, "--accept-license")
    assert done.code == 0, done.err
    manifest = json.loads((home / "own" / "bundle.json").read_text())
    assert manifest["name"] == "own" and file.sha256 in manifest["description"]
    assert undegrade("models", "verify", "own").code == 0
    assert not list(home.rglob("autodir.ckpt"))


def test_two_checkpoints_that_do_not_go_together_make_no_bundle(undegrade, shop, home, workplace, shared):
    """Both reach the converter: these two of the parity set are of different widths."""
    files = []
    for which, name in (("daclip", "clip.pt"), ("unet", "unet.pth")):
        words = [sys.executable, shared / "parity" / "weights.py", which, workplace / name]
        subprocess.run(words, check=True, timeout=120)
        files.append(shop.add(name, (workplace / name).read_bytes()))
    path = registry_of(workplace / "own.toml", kind="checkpoint", family="daclip", files=files)
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (done.code, "do not go together" in done.err) == (3, True), done.err
    assert not (home / "tiny").exists()
    again = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (again.code, len(shop.asked)) == (3, 2)  # nothing is fetched twice


def test_a_family_that_cannot_be_converted_is_refused_before_anything_is_asked_for(undegrade, shop, home, workplace):
    path = registry_of(workplace / "own.toml", kind="checkpoint", family="gan", files=[shop.add("a.pt", b"x")])
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-license")
    assert (done.code, "family 'gan', expected one of autodir" in done.err, shop.asked) == (2, True, [])


# --- removing


def test_a_fetched_bundle_is_removed_and_so_is_what_is_under_way(undegrade, shop, stocked, home):
    undegrade("models", "pull", "tiny", "--accept-license")
    assert undegrade("models", "rm", "tiny").code == 0
    assert not (home / "tiny").exists()
    del shop.files["/scm.safetensors"]
    undegrade("models", "pull", "tiny", "--accept-license")
    assert undegrade("models", "rm", "tiny").code == 0
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert undegrade("models", "rm", "tiny").code == 3


@pytest.mark.parametrize("name", ["autodir-small", "../data", ".downloads", "/", "."])
def test_nothing_else_can_be_removed(undegrade, stocked, home, workplace, name):
    undegrade("models", "pull", "tiny", "--accept-license")
    assert undegrade("models", "rm", name).code in (2, 3)
    assert (home / "tiny" / "bundle.json").is_file()


# --- registries


def test_the_shipped_registry_is_one_and_an_empty_one_says_what_to_do(undegrade, home):
    read_registry(SHIPPED_REGISTRY)
    done = undegrade("models", "pull", "nothing", "--accept-license")
    assert done.code == 3
    assert "UNDEGRADE_REGISTRY" in done.err


FINE = {"name": "bundle.json", "url": "https://host/bundle.json", "sha256": "0" * 64, "bytes": 1}
WRONG = {
    "half a hash": ({}, {"sha256": "ea948854d4293f2d"}, "sha256"),
    "a path": ({}, {"name": "../bundle.json"}, "name"),
    "a hidden file": ({}, {"name": ".bundle.json"}, "name"),
    "another scheme": ({}, {"url": "file:///etc/passwd"}, "url"),
    "no size": ({}, {"bytes": 0}, "bytes"),
    "a misspelt field": ({"licens": "MIT"}, {}, "licens"),
    "no license": ({"license": ""}, {}, "license"),
    "another kind": ({"kind": "zip"}, {}, "kind"),
    "a checkpoint without a family": ({"kind": "checkpoint"}, {}, "family"),
    "no manifest": ({}, {"name": "other.json"}, "bundle.json"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_registry_is_named_with_its_field(undegrade, home, workplace, kind):
    entry, file, named = WRONG[kind]
    files = [RemoteFile.model_construct(**{**FINE, **file})]
    path = registry_of(workplace / "own.toml", **{"kind": "bundle", **entry}, files=files)
    done = undegrade("models", "pull", "tiny", "--registry", path)
    assert (done.code, named in done.err, "Traceback" in done.err) == (2, True, False)


def test_a_registry_that_is_none_gets_a_sentence(undegrade, home, workplace):
    (workplace / "own.toml").write_text("<html>")
    assert "no TOML" in undegrade("models", "pull", "a", "--registry", "own.toml").err
    assert "cannot read the registry gone.toml" in undegrade("models", "pull", "a", "--registry", "gone.toml").err


def test_the_registry_in_the_documentation_is_one(workplace):
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (workplace / "own.toml").write_text(block)
    assert {entry.kind for entry in read_registry(workplace / "own.toml").models.values()} >= {"bundle", "checkpoint"}
