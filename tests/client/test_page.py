"""docs/client.md and the client's README: their examples run, and they name what there is."""

import inspect
import re
from pathlib import Path

import pytest

import undegrade_client
from undegrade_client import Client
from undegrade_client.errors import UndegradeError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "client.md").read_text()
README = (ROOT / "client" / "README.md").read_text()
BLOCKS = [*re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S), *re.findall(r"```python\n(.*?)```", README, re.S)]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs(service, worker, picture, tmp_path, monkeypatch, capsys, block):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDEGRADE_SERVER", service.url)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    Path("photo.jpg").write_bytes(picture("jpeg"))
    for folder in ("photos", "restored"):
        Path(folder).mkdir()
    for name in ("a.png", "b.png", "c.jpg"):
        (Path("photos") / name).write_bytes(picture("png"))
    names: dict[str, object] = {}
    # The toy worker knows no haze
    exec(compile(block.replace('skip=["haze"], ', "").replace(', skip=["haze"]', ""), "example", "exec"), names)
    if "receive" in names:
        assert names["receive"](b"{}", {}, "whsec_AAAA") == 400
    else:
        assert capsys.readouterr().out


def test_the_page_names_every_exception_and_argument_of_map():
    ours = {name for name, kind in inspect.getmembers(undegrade_client, inspect.isclass) if issubclass(kind, Exception)}
    assert not {name for name in ours if f"`{name}`" not in PAGE and name not in PAGE}
    assert issubclass(undegrade_client.ApiError, UndegradeError)
    table = PAGE.partition("## Many images")[2].partition("\n## ")[0]
    arguments = set(inspect.signature(Client.map).parameters) - {"self", "images", "options"}
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == arguments
    defaults = {name: str(inspect.signature(Client.map).parameters[name].default) for name in ("jobs", "ordered")}
    for name, default in defaults.items():
        assert re.search(rf"^\| `{name}` \| `?{default}`? \|", table, re.M)
