"""`models pull` against a real HTTP server that cuts, forgets, changes and refuses."""

import hashlib
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
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli.download import DownloadError, Patience, download, open_client
from models.errors import BundleError
from models.registry import SHIPPED_REGISTRY, RemoteFile, read_registry

COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
AT_ONCE = Patience(tries=4, first_s=0.0)
TOKENS = "model_assessment.clipmodel.text_model.embeddings.token_embedding.weight"


@dataclass
class Shop:
    """What the server has and how it behaves; `asked` is every request's path, Range and If-Range."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # answered first, one a request
    cuts: list[int] = field(default_factory=list)  # bytes after which the connection of a request ends
    gate: threading.Event | None = None  # the second half of every body waits for it
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    sent_bytes: int = 0

    def add(self, name, content, tag='"one"'):
        self.files[f"/{name}"], self.tags[f"/{name}"] = content, tag
        url = f"http://127.0.0.1:{self.port}/{name}"
        return RemoteFile(name=name, url=url, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_GET(self):
        shop, path = self.server.shop, self.path.partition("?")[0]
        wanted, condition = self.headers.get("Range", ""), self.headers.get("If-Range", "")
        shop.asked.append((path, wanted, condition))
        if shop.refusals:
            return self.refuse(*shop.refusals.pop(0))
        if path not in shop.files:
            return self.refuse(404, {})
        content, tag, start = shop.files[path], shop.tags[path], 0
        if shop.ranges and wanted and condition in ("", tag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= len(content):
                return self.refuse(416, {})
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content)
        if shop.cuts:
            end = start + shop.cuts.pop(0)
            self.close_connection = True
        half = (start + end) // 2
        self.send(content[start:half])
        if shop.gate is not None:
            shop.gate.wait(60)
        self.send(content[half:end])

    def send(self, part):
        try:
            self.wfile.write(part)
            self.server.shop.sent_bytes += len(part)
        except OSError:  # the client has gone
            self.close_connection = True

    def refuse(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def shop():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.shop = Shop(port=server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.shop
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(tmp_path):
    """Download one file without pauses, and what was said meanwhile."""
    said = []

    def run(file):
        with open_client() as client:
            download(client, file, tmp_path / file.name, lambda done, total: None, said.append, AT_ONCE)
        return tmp_path / file.name

    run.said = said
    return run


CONTENT = bytes(range(256)) * 4000


# --- one file


def test_a_file_comes_whole_and_nothing_lies_beside_it(shop, fetch, tmp_path):
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file"]
    assert shop.asked == [("/file", "", "")]


def test_a_cut_connection_is_taken_up_where_it_ended(shop, fetch):
    shop.cuts = [300_000, 400_000]
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert shop.asked == [
        ("/file", "", ""), ("/file", "bytes=300000-", '"one"'), ("/file", "bytes=700000-", '"one"')
    ]  # fmt: skip
    assert shop.sent_bytes == len(CONTENT)
    assert len(fetch.said) == 2


def test_a_part_of_an_earlier_run_is_taken_up(shop, fetch):
    file = shop.add("file", CONTENT)
    shop.cuts = [100_000, 0, 0, 0]
    with pytest.raises(DownloadError, match=r"the connection broke, 4 times\. 100000 of 1024000 bytes"):
        fetch(file)
    assert fetch(file).read_bytes() == CONTENT
    assert shop.asked[-1] == ("/file", "bytes=100000-", '"one"')
    assert shop.sent_bytes == len(CONTENT)


def test_a_server_without_ranges_sends_it_whole_again(shop, fetch):
    shop.ranges, shop.cuts = False, [300_000]
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert shop.sent_bytes == len(CONTENT) + 300_000


@pytest.mark.parametrize("tag", ['"two"', "", 'W/"weak"'])
def test_a_file_that_changed_meanwhile_is_not_mixed(shop, fetch, tmp_path, tag):
    """With a tag the server notices; without one, or with a weak one, only the hash of the whole can tell."""
    shop.cuts = [300_000, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch(shop.add("file", CONTENT[::-1], '"one"' if tag == '"two"' else tag))
    assert fetch(shop.add("file", CONTENT, tag)).read_bytes() == CONTENT
    assert shop.asked[-1][1] == ("bytes=300000-" if tag == '"two"' else "")


def test_a_part_that_is_longer_than_the_file_is_dropped(shop, fetch, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    assert fetch(shop.add("file", CONTENT)).read_bytes() == CONTENT
    assert shop.asked == [("/file", "", "")]


def test_a_wrong_hash_is_named_and_nothing_is_kept(shop, fetch, tmp_path):
    file = shop.add("file", CONTENT)
    shop.files["/file"] = CONTENT[::-1]
    with pytest.raises(BundleError, match=rf"sha256 .*the registry says {file.sha256[:12]}"):
        fetch(file)
    assert not (tmp_path / "file").exists()
    assert (tmp_path / "file.part").stat().st_size == 0


@pytest.mark.parametrize("other", [b"<html>log in</html>", CONTENT + b"."])
def test_another_size_is_refused_on_the_head(shop, fetch, tmp_path, other):
    file = shop.add("file", CONTENT)
    shop.files["/file"] = other
    with pytest.raises(BundleError, match=f"has {len(other)} bytes, the registry says {len(CONTENT)}"):
        fetch(file)
    assert not (tmp_path / "file").exists()


def test_a_refusal_that_may_pass_is_tried_again_and_one_that_will_not_is_not(shop, fetch):
    file = shop.add("file", CONTENT)
    shop.refusals = [(503, {"Retry-After": "0"}), (500, {}), (429, {})]
    assert fetch(file).read_bytes() == CONTENT
    assert [said.split(";")[0] for said in fetch.said] == [
        "the server answered 503 Service Unavailable", "the server answered 500 Internal Server Error",
        "the server answered 429 Too Many Requests",
    ]  # fmt: skip
    for status in (401, 403, 404, 410):
        shop.asked.clear()
        shop.refusals = [(status, {})]
        with pytest.raises(DownloadError, match=f"answered {status} "):
            fetch(file.model_copy(update={"name": "other"}))
        assert len(shop.asked) == 1


def test_a_server_is_not_tried_for_ever(shop, fetch):
    shop.refusals = [(500, {})] * 100
    with pytest.raises(DownloadError, match="500 Internal Server Error, 4 times"):
        fetch(shop.add("file", CONTENT))
    assert len(shop.asked) == 4


def test_a_pause_that_the_server_asks_for_is_kept(shop, tmp_path):
    shop.refusals = [(503, {"Retry-After": "1"})]
    said = []
    with open_client() as client:
        download(client, shop.add("file", b"x"), tmp_path / "file", lambda *_: None, said.append, AT_ONCE)
    assert said == ["the server answered 503 Service Unavailable; trying again in 1 s"]


def test_a_server_that_is_not_there_is_a_sentence(fetch):
    file = RemoteFile(name="file", url="http://127.0.0.1:1/file?token=secret", sha256="0" * 64, bytes=1)
    with pytest.raises(DownloadError, match="cannot be reached") as raised:
        fetch(file)
    assert "secret" not in str(raised.value)


def test_a_redirect_is_followed(shop, fetch):
    file = shop.add("file", CONTENT)
    shop.refusals = [(302, {"Location": "/moved"})]
    shop.files["/moved"], shop.tags["/moved"] = CONTENT, ""
    assert fetch(file).read_bytes() == CONTENT


def test_progress_goes_up_to_all_of_it_and_begins_at_what_is_there(shop, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:300_000])
    told = []
    with open_client() as client:
        file = shop.add("file", CONTENT)
        download(client, file, tmp_path / "file", lambda *now: told.append(now), print, AT_ONCE)
    assert told == sorted(told)
    assert (told[0][0], told[-1]) == (300_000, (len(CONTENT), len(CONTENT)))


# --- bundles


@pytest.fixture
def home(workplace, monkeypatch):
    """The folder that fetched bundles go to."""
    monkeypatch.setenv("XDG_DATA_HOME", str(workplace / "data"))
    return workplace / "data" / "undegrade" / "bundles"


def registry_of(path, name="tiny", **entry):
    """Write a registry with one entry; values are the same in TOML and JSON."""
    files = [file.model_dump() for file in entry.pop("files")]
    lines = ["format = 1", f"[models.{name}]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in {"description": "", "licence": "MIT", **entry}.items()]
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
    done = undegrade("models", "pull", "tiny", "--accept-licence")
    assert done.code == 0, done.err
    assert "Licence: MIT" in done.err
    for path in source.iterdir():
        assert (home / "tiny" / path.name).read_bytes() == path.read_bytes()
    assert sorted(path for path, *_ in shop.asked) == sorted(shop.files)
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert "tiny" in undegrade("models", "list").text
    assert undegrade("models", "verify", "tiny").code == 0
    assert undegrade("restore", photo("a.png"), "--bundle", "tiny", "--max-passes", 1, "--device", "cpu").code == 0


def test_what_is_here_is_not_fetched_again_unless_forced(undegrade, shop, stocked, home):
    undegrade("models", "pull", "tiny", "--accept-licence")
    asked = len(shop.asked)
    again = undegrade("models", "pull", "tiny")
    assert (again.code, len(shop.asked)) == (0, asked)
    assert "is here already" in again.err
    (home / "tiny" / "scm.safetensors").write_bytes(b"damaged")
    assert undegrade("models", "pull", "tiny", "--force", "--accept-licence").code == 0
    assert len(shop.asked) == 2 * asked
    assert undegrade("models", "verify", "tiny").code == 0


def test_a_new_version_in_the_registry_is_named(undegrade, stocked, workplace):
    undegrade("models", "pull", "tiny", "--accept-licence")
    newer = stocked["bundle.json"].model_copy(update={"sha256": "1" * 64})
    registry_of(workplace / "registry.toml", kind="bundle", files=[newer])
    done = undegrade("models", "pull", "tiny")
    assert (done.code, "the registry has another one" in done.err) == (0, True)


def test_a_bundle_that_was_put_there_otherwise_is_neither_replaced_nor_removed(undegrade, shop, stocked, source, home):
    shutil.copytree(source, home / "tiny")
    assert undegrade("models", "pull", "tiny", "--accept-licence").code == 0
    assert undegrade("models", "pull", "tiny", "--force", "--accept-licence").code == 2
    assert undegrade("models", "rm", "tiny").code == 3
    assert (home / "tiny" / "bundle.json").is_file()
    assert shop.asked == []


def test_the_first_folder_of_the_environment_takes_it(undegrade, stocked, workplace, monkeypatch):
    monkeypatch.setenv("UNDEGRADE_BUNDLES", f"{workplace / 'first'}{os.pathsep}{workplace / 'second'}")
    assert undegrade("models", "pull", "tiny", "--accept-licence").code == 0
    assert (workplace / "first" / "tiny" / "bundle.json").is_file()


def test_without_the_licence_accepted_nothing_is_asked_for(undegrade, shop, stocked, home):
    done = undegrade("models", "pull", "tiny")
    assert done.code == 2
    assert "Licence: MIT" in done.err and "--accept-licence" in done.err
    assert shop.asked == [] and not (home / "tiny").exists()


def test_a_refused_file_leaves_no_bundle_and_says_which(undegrade, shop, stocked, home):
    del shop.files["/scm.safetensors"]
    done = undegrade("models", "pull", "tiny", "--accept-licence")
    assert done.code == 5
    assert "/scm.safetensors answered 404 Not Found" in done.err
    assert not (home / "tiny").exists()
    assert "tiny" not in undegrade("models", "list").text


def test_what_has_arrived_is_not_fetched_twice(undegrade, shop, stocked, source, home):
    del shop.files["/scm.safetensors"]
    undegrade("models", "pull", "tiny", "--accept-licence")
    shop.add("scm.safetensors", (source / "scm.safetensors").read_bytes())
    shop.asked.clear()
    assert undegrade("models", "pull", "tiny", "--accept-licence").code == 0
    assert [path for path, *_ in shop.asked] == ["/scm.safetensors"]


def test_a_file_that_the_manifest_does_not_mean_is_found(undegrade, shop, stocked, home):
    shop.files["/scm.safetensors"] = shop.files["/scm.safetensors"][::-1]
    done = undegrade("models", "pull", "tiny", "--accept-licence")
    assert done.code == 3
    assert "sha256" in done.err and not (home / "tiny").exists()


@pytest.mark.parametrize("way", ["option", "setting"])
def test_offline_asks_nobody_and_says_what_to_bring(undegrade, shop, stocked, source, home, monkeypatch, way):
    if way == "setting":
        monkeypatch.setenv("UNDEGRADE_OFFLINE", "1")
    words = ("models", "pull", "tiny", "--accept-licence", *(["--offline"] if way == "option" else []))
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
    done = undegrade("models", "pull", "tiny", "--accept-licence", "--offline")
    assert (done.code, "bundle.json has sha256" in done.err) == (3, True)


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked_for(undegrade, shop, stocked, workplace):
    large = stocked["bundle.json"].model_copy(update={"bytes": 10**16})
    registry_of(workplace / "registry.toml", kind="bundle", files=[large])
    done = undegrade("models", "pull", "tiny", "--accept-licence")
    assert (done.code, "GB free, expected 10000000.00" in done.err) == (3, True)
    assert shop.asked == []


def test_secrets_of_an_address_are_neither_shown_nor_kept(undegrade, shop, stocked, home, workplace):
    file = stocked["bundle.json"]
    signed = file.model_copy(update={"url": file.url.replace("127", "user:pass@127") + "?signature=xyzzy"})
    registry_of(workplace / "registry.toml", kind="bundle", files=[signed])
    done = undegrade("models", "pull", "tiny", "--accept-licence")
    assert done.code == 0, done.err
    for text in (done.err, (home / "tiny" / "pulled.json").read_text()):
        assert file.url in text and "xyzzy" not in text and "user:pass" not in text


def test_a_proxy_that_cannot_be_used_is_named(undegrade, stocked, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://proxy")
    done = undegrade("models", "pull", "tiny", "--accept-licence")
    assert (done.code, "the proxy that the environment names" in done.err) == (5, True)


def test_looking_and_refusing_does_not_wait_for_torch(stocked):
    script = (
        "import sys\nfrom cli.main import app\n"
        "for words in (['--list'], ['tiny'], ['tiny', '--accept-licence', '--offline']):\n"
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
    process = start("models", "pull", "tiny", "--accept-licence")
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
    assert undegrade("models", "pull", "tiny", "--accept-licence").code == 0
    assert shop.asked[0] == ("/bundle.json", f"bytes={had}-", '"one"')
    assert undegrade("models", "verify", "tiny").code == 0


def test_two_at_once_fetch_it_once(undegrade, shop, stocked):
    shop.gate = threading.Event()
    first = start("models", "pull", "tiny", "--accept-licence")
    until(lambda: shop.asked)
    second = start("models", "pull", "tiny", "--accept-licence")
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
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-licence")
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
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-licence")
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
    done = undegrade(*words, "--accept-licence")
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
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-licence")
    assert (done.code, "do not go together" in done.err) == (3, True), done.err
    assert not (home / "tiny").exists()
    again = undegrade("models", "pull", "tiny", "--registry", path, "--accept-licence")
    assert (again.code, len(shop.asked)) == (3, 2)  # nothing is fetched twice


def test_a_family_that_cannot_be_converted_is_refused_before_anything_is_asked_for(undegrade, shop, home, workplace):
    path = registry_of(workplace / "own.toml", kind="checkpoint", family="gan", files=[shop.add("a.pt", b"x")])
    done = undegrade("models", "pull", "tiny", "--registry", path, "--accept-licence")
    assert (done.code, "family 'gan', expected one of autodir" in done.err, shop.asked) == (2, True, [])


# --- removing


def test_a_fetched_bundle_is_removed_and_so_is_what_is_under_way(undegrade, shop, stocked, home):
    undegrade("models", "pull", "tiny", "--accept-licence")
    assert undegrade("models", "rm", "tiny").code == 0
    assert not (home / "tiny").exists()
    del shop.files["/scm.safetensors"]
    undegrade("models", "pull", "tiny", "--accept-licence")
    assert undegrade("models", "rm", "tiny").code == 0
    assert os.listdir(home / ".downloads") == ["tiny.lock"]
    assert undegrade("models", "rm", "tiny").code == 3


@pytest.mark.parametrize("name", ["autodir-small", "../data", ".downloads", "/", "."])
def test_nothing_else_can_be_removed(undegrade, stocked, home, workplace, name):
    undegrade("models", "pull", "tiny", "--accept-licence")
    assert undegrade("models", "rm", name).code in (2, 3)
    assert (home / "tiny" / "bundle.json").is_file()


# --- registries


def test_the_shipped_registry_is_one_and_an_empty_one_says_what_to_do(undegrade, home):
    read_registry(SHIPPED_REGISTRY)
    done = undegrade("models", "pull", "nothing", "--accept-licence")
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
    "no licence": ({"licence": ""}, {}, "licence"),
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
