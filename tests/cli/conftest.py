"""The command as a person meets it, in this process or one of its own, with a bundle of small random networks."""

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.registry import RemoteFile

COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]


@dataclass(frozen=True)
class Done:
    """How a run ended and what it said."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one bundle under the default's name: the real loading code on networks that know nothing."""
    import torch

    from models.autodir.air import AIR, AIRConfig, UNetConfig
    from models.autodir.assessor import Assessor, prompt_of
    from models.autodir.config import LoopConfig
    from models.autodir.latents import PatchConfig
    from models.bundle import BundleDegradation, Manifest, write_bundle
    from models.networks.clip import ClipConfig, TextConfig, VisionConfig
    from models.networks.nafnet import NAFNet, NAFNetConfig

    names = ("noise", "haze", "rain", "clean")
    clip = ClipConfig(
        embed_dim=16,
        vision=VisionConfig(image_size=32, layers=1, width=16, patch_size=8, head_width=8),
        text=TextConfig(width=16, heads=2, layers=1),
    )
    unet = UNetConfig(
        block_channels=(16, 16), layers_per_block=1, attention=(False, True), heads=2, context_dim=16, norm_groups=4
    )
    air = AIRConfig(unet=unet, codec=PatchConfig(factor=4), prediction="v_prediction")
    scm = NAFNetConfig(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,))
    loop = LoopConfig(sampler="ddim", steps=2, max_passes=2, views=4, native_px=256 * 256, tile_px=128, overlap_px=16)
    torch.manual_seed(0)
    networks = {"clip": Assessor(clip, names).clip, "air": AIR(air), "scm": NAFNet(scm)}
    manifest = Manifest(
        family="autodir", name="autodir-small", version="0", description="random", license="Apache-2.0",
        degradations=tuple(BundleDegradation(name=name, prompt=prompt_of(name), fidelity=1) for name in names),
        networks={"clip": asdict(clip), "air": asdict(air), "scm": asdict(scm), "loop": asdict(loop)},
        weights={}, files={},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("bundles")
    states = {name: network.state_dict() for name, network in networks.items()}
    write_bundle(folder / "autodir-small", manifest, states)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and no settings but those that a test makes."""
    for name in [name for name in os.environ if name.startswith("UNDEGRADE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def undegrade(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Iterator[Callable[..., Done]]:
    """`undegrade WORDS` in this process, which has torch loaded already."""
    from cli.main import main
    from cli.settings import settings

    def run(*words: object, stdin: bytes = b"") -> Done:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["undegrade", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsysbinary.readouterr()
        return Done(ended.value.code or 0, captured.out, captured.err.decode())

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)
    settings.cache_clear()


@pytest.fixture
def with_bundle(undegrade: Callable[..., Done], bundles: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """The same, with the random bundle as the default one."""
    monkeypatch.setenv("UNDEGRADE_BUNDLES", str(bundles))
    return undegrade


@pytest.fixture
def process(workplace: Path) -> Callable[..., Done]:
    """`undegrade WORDS` in a process of its own."""

    def run(*words: object, stdin: bytes = b"", **settings: str) -> Done:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **settings}
        done = subprocess.run([*COMMAND, *map(str, words)], input=stdin, capture_output=True, env=env, timeout=120)
        return Done(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture
def photo(workplace: Path) -> Callable[..., Path]:
    """Writes a small photo of random pixels below the current folder; the same name has the same pixels."""

    def write(name: str, height: int = 24, width: int = 32, **options: object) -> Path:
        path = workplace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return Path(name)

    return write


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
